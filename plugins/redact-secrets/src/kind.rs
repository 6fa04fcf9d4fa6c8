/// What a secret is, as the mask tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    PrivateKey,
    AwsAccessKey,
    GithubToken,
    SlackToken,
    GoogleApiKey,
    Jwt,
    BearerToken,
    /// The value of a member whose name says that it is a secret.
    NamedSecret,
}

impl Kind {
    pub(crate) const ALL: [Kind; 8] = [
        Kind::PrivateKey,
        Kind::AwsAccessKey,
        Kind::GithubToken,
        Kind::SlackToken,
        Kind::GoogleApiKey,
        Kind::Jwt,
        Kind::BearerToken,
        Kind::NamedSecret,
    ];

    /// What stands in the secret's place.
    pub(crate) fn mask(self) -> &'static str {
        match self {
            Kind::PrivateKey => "[redacted:private-key]",
            Kind::AwsAccessKey => "[redacted:aws-access-key]",
            Kind::GithubToken => "[redacted:github-token]",
            Kind::SlackToken => "[redacted:slack-token]",
            Kind::GoogleApiKey => "[redacted:google-api-key]",
            Kind::Jwt => "[redacted:jwt]",
            Kind::BearerToken => "[redacted:bearer-token]",
            Kind::NamedSecret => "[redacted:named-secret]",
        }
    }
}

/// Whether a text is a mask and nothing else.
pub(crate) fn is_mask(text: &str) -> bool {
    Kind::ALL.iter().any(|kind| kind.mask() == text)
}
