/// What a secret is, as the mask tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    PrivateKey,
    AwsAccessKey,
    AwsSecretKey,
    GithubToken,
    SlackToken,
    SlackWebhook,
    GoogleApiKey,
    GoogleOauth,
    Jwt,
    BearerToken,
    UrlCredentials,
    /// What a name beside it says to be a secret.
    NamedSecret,
}

/// How every mask begins.
pub(crate) const MASK: &str = "[redacted:";

impl Kind {
    pub(crate) const ALL: [Kind; 12] = [
        Kind::PrivateKey,
        Kind::AwsAccessKey,
        Kind::AwsSecretKey,
        Kind::GithubToken,
        Kind::SlackToken,
        Kind::SlackWebhook,
        Kind::GoogleApiKey,
        Kind::GoogleOauth,
        Kind::Jwt,
        Kind::BearerToken,
        Kind::UrlCredentials,
        Kind::NamedSecret,
    ];

    /// What stands in the secret's place.
    pub(crate) fn mask(self) -> &'static str {
        match self {
            Kind::PrivateKey => "[redacted:private-key]",
            Kind::AwsAccessKey => "[redacted:aws-access-key]",
            Kind::AwsSecretKey => "[redacted:aws-secret-key]",
            Kind::GithubToken => "[redacted:github-token]",
            Kind::SlackToken => "[redacted:slack-token]",
            Kind::SlackWebhook => "[redacted:slack-webhook]",
            Kind::GoogleApiKey => "[redacted:google-api-key]",
            Kind::GoogleOauth => "[redacted:google-oauth]",
            Kind::Jwt => "[redacted:jwt]",
            Kind::BearerToken => "[redacted:bearer-token]",
            Kind::UrlCredentials => "[redacted:url-credentials]",
            Kind::NamedSecret => "[redacted:named-secret]",
        }
    }
}

/// Whether a text is a mask and nothing else.
pub(crate) fn is_mask(text: &str) -> bool {
    Kind::ALL.iter().any(|kind| kind.mask() == text)
}
