//! Finds a Rust that makes WebAssembly components, in the way of `scripts/guest-toolchain.bash`.
//! Only looks: installing is for the user.
//!
//! Two ways are known. The Rust of `cargo` has the target's standard library installed; or it has
//! not, but Debian's packages bring a Rust with the standard library's source and a libc for WASI,
//! and the two linkers lie in every toolchain from rustup.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    ProjectError,
    tool::{Tool, is_debian},
};

/// What guests are compiled for.
pub(super) const TARGET: &str = "wasm32-wasip2";
/// What Debian's way needs.
const DEBIAN: &str = "rustc-web rust-web-src wasi-libc";

/// A way to compile Rust to WebAssembly.
#[derive(Debug)]
pub(super) enum Toolchain {
    /// The target is installed.
    Installed { rustc: String },
    /// Debian's compiler, and its standard library from source.
    Debian { version: String, rustc: PathBuf, libc: PathBuf, linkers: PathBuf },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed { rustc } => write!(f, "{rustc} with its target {TARGET}"),
            Self::Debian { version, .. } => write!(
                f,
                "Debian's rustc {version}, standard library from source, as the target {TARGET} is \
                 not installed"
            ),
        }
    }
}

impl Toolchain {
    /// Looks at what is installed, from within `folder`, which may choose its toolchain.
    pub(super) fn find(folder: &Path) -> Result<Self, ProjectError> {
        let Some(sysroot) = first_line(folder, "rustc", &["--print", "sysroot"]) else {
            return Err(nothing("there is no rustc"));
        };
        let sysroot = PathBuf::from(sysroot);
        if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
            let rustc = first_line(folder, "rustc", &["--version"]).unwrap_or_default();
            return Ok(Self::Installed { rustc });
        }
        let missing = format!("the target {TARGET} is not installed");
        let (Some(rustc), Some(libc)) =
            (debian_file("rustc-web", "/bin/rustc"), debian_file("wasi-libc", "/libc.a"))
        else {
            return Err(nothing(missing));
        };
        let program = rustc.to_string_lossy();
        let said = first_line(folder, &program, &["--version"]).unwrap_or_default();
        let version = said.split(' ').nth(1).unwrap_or_default().to_owned();
        let wanted = env!("CARGO_PKG_RUST_VERSION");
        if numbers(&version) < numbers(wanted) {
            return Err(nothing(format!(
                "{missing}, and Debian's rustc-web is {version:?}, older than {wanted}"
            )));
        }
        let debian_sysroot =
            first_line(folder, &program, &["--print", "sysroot"]).unwrap_or_default();
        if !Path::new(&debian_sysroot).join("lib/rustlib/src/rust/library/std").is_dir() {
            return Err(nothing(format!("{missing}, and the source of Debian's is neither")));
        }
        let about = first_line_after(folder, "rustc", &["-vV"], "host: ").unwrap_or_default();
        let linkers = sysroot.join("lib/rustlib").join(about).join("bin");
        if !linkers.join("wasm-component-ld").exists() || !linkers.join("gcc-ld/wasm-ld").exists() {
            return Err(nothing(format!(
                "{missing}, and this Rust has no wasm-component-ld and wasm-ld, as those from \
                 rustup have"
            )));
        }
        let libc = libc.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self::Debian { version, rustc, libc, linkers })
    }

    /// Makes `cargo build` one for WebAssembly, in this way.
    pub(super) fn dress(&self, cargo: Tool) -> Tool {
        // These would silently win over the target's own flags.
        let cargo = cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        let cargo = cargo.args(["--release", "--target", TARGET]);
        let Self::Debian { rustc, libc, linkers, .. } = self else { return cargo };
        let mut path = linkers.join("gcc-ld").into_os_string();
        if let Some(rest) = env::var_os("PATH") {
            path.push(":");
            path.push(rest);
        }
        let mut flags = std::ffi::OsString::from("-L");
        flags.push(libc);
        flags.push(" -Clink-self-contained=no");
        cargo
            .env("PATH", path)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", rustc)
            .env("CARGO_TARGET_WASM32_WASIP2_LINKER", linkers.join("wasm-component-ld"))
            .env("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", flags)
            .arg("-Zbuild-std=std,panic_abort")
    }
}

fn nothing(reason: impl Into<String>) -> ProjectError {
    ProjectError::Toolchain { reason: reason.into(), install: how_to_install() }
}

fn how_to_install() -> String {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let rustup = format!("`rustup target add {TARGET}`");
    match (has("rustup"), is_debian()) {
        (true, true) => format!(
            "{rustup}; where rustup cannot fetch it, `apt-get update && apt-get install {DEBIAN}`"
        ),
        (true, false) => rustup,
        (false, _) => format!("install Rust with rustup, then {rustup}"),
    }
}

fn first_line(folder: &Path, program: &str, arguments: &[&str]) -> Option<String> {
    first_line_after(folder, program, arguments, "")
}

/// What follows `prefix` on the first line of a program's answer that begins with it.
fn first_line_after(
    folder: &Path,
    program: &str,
    arguments: &[&str],
    prefix: &str,
) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(folder).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix(prefix)).map(Into::into)
}

/// The first file of an installed Debian package whose name ends so.
fn debian_file(package: &str, ending: &str) -> Option<PathBuf> {
    let output = Command::new("dpkg").args(["-L", package]).output().ok()?;
    let files = String::from_utf8(output.stdout).ok()?;
    files.lines().find(|file| file.ends_with(ending)).map(Into::into)
}

/// `1.96.0` as what can be compared.
fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(numbers("1.100.0") > numbers("1.95"));
        assert!(numbers("1.95.0") >= numbers("1.95"));
        assert!(numbers("1.85.0+dfsg") < numbers("1.95"));
        assert!(numbers("") < numbers("1.95"));
    }
}
