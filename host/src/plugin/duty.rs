//! What a host lets its plugins do. One whose log is a copy of another host's has nothing to filter or to
//! enrich, and nothing can be added to its log: there, reactions act on what is outside.

use super::{
    component::{Roles, Step},
    manifest::Manifest,
};

/// What a host lets its plugins do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duty {
    /// All that they are made for.
    #[default]
    Everything,
    /// React to events, without adding any.
    OnlyReact,
}

impl Duty {
    /// Says what of a plugin the host has no place for.
    ///
    /// # Errors
    /// The step at which it is not loaded, and why.
    pub(super) fn check(self, roles: Roles, manifest: &Manifest) -> Result<(), (Step, String)> {
        if self == Self::Everything {
            return Ok(());
        }
        let not_here: Vec<_> = roles.names().filter(|role| *role != "reaction").collect();
        if !not_here.is_empty() {
            return Err((
                Step::Roles,
                format!(
                    "{}: a follower runs reactions alone, since filters and enrichers have run on the \
                     host that it follows (take the plugin out of this folder)",
                    not_here.join(" and ")
                ),
            ));
        }
        let adds = match manifest {
            _ if !manifest.capabilities.emit.is_empty() => "[capabilities] emit",
            _ if manifest.reaction.escalation.is_some() => "[reaction] escalate_after",
            _ => return Ok(()),
        };
        Err((
            Step::Capability,
            format!(
                "{adds}: a follower's log is the host's, so nothing can be added to it (take this out \
                 of the sidecar, or run the plugin on the host)"
            ),
        ))
    }
}
