//! Tells from a name that its value is a secret.

/// Words that tell. `token` is weak: agents count theirs, so numbers under it stay.
const TELLING: &[&str] =
    &["passphrase", "passcode", "pwd", "secret", "credential", "authorization", "cookie", "token"];

/// Pairs of neighbouring words that tell although neither does alone.
const TELLING_PAIRS: &[(&str, &str)] = &[
    ("api", "key"),
    ("access", "key"),
    ("account", "key"),
    ("auth", "key"),
    ("encryption", "key"),
    ("master", "key"),
    ("private", "key"),
    ("signing", "key"),
];

/// The same pairs in names that are written as one word.
const TELLING_COMPOUNDS: &[&str] = &[
    "apikey",
    "accesskey",
    "accountkey",
    "authkey",
    "encryptionkey",
    "masterkey",
    "privatekey",
    "signingkey",
];

/// What a name says of its value, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Says {
    /// Nothing: the value is searched like any other.
    Nothing,
    /// Its texts are secrets; its numbers may be counts.
    SecretText,
    /// Its texts and numbers are secrets.
    Secret,
}

/// Names as configured, each as its words.
pub(crate) struct KeyNames {
    secret: Vec<Vec<String>>,
    harmless: Vec<Vec<String>>,
}

impl KeyNames {
    pub(crate) fn new(secret: &[String], harmless: &[String]) -> Result<Self, String> {
        Ok(KeyNames {
            secret: named("secret_keys", secret)?,
            harmless: named("harmless_keys", harmless)?,
        })
    }

    pub(crate) fn says(&self, name: &str) -> Says {
        let words = words(name);
        if self.harmless.contains(&words) {
            return Says::Nothing;
        }
        let configured = self
            .secret
            .iter()
            .any(|secret| words.windows(secret.len()).any(|neighbours| neighbours == secret));
        let pair = words.windows(2).any(|neighbours| {
            matches!(neighbours, [a, b] if TELLING_PAIRS.contains(&(a.as_str(), b.as_str())))
        });
        let mut telling = words.iter().filter(|word| tells(word)).peekable();
        if configured || pair {
            Says::Secret
        } else if telling.peek().is_none() {
            Says::Nothing
        } else if telling.all(|word| word == "token") {
            Says::SecretText
        } else {
            Says::Secret
        }
    }
}

fn tells(word: &str) -> bool {
    // `PGPASSWORD`, `dbpassword`.
    let is_password = word.ends_with("password") || word.ends_with("passwd");
    is_password || TELLING.contains(&word) || TELLING_COMPOUNDS.contains(&word)
}

fn named(key: &str, names: &[String]) -> Result<Vec<Vec<String>>, String> {
    names
        .iter()
        .map(|name| {
            let words = words(name);
            if words.is_empty() {
                Err(format!("{key}: {name:?} has no letters or digits to compare"))
            } else {
                Ok(words)
            }
        })
        .collect()
}

/// `accessKey`, `ACCESS_KEYS`, `access-key` and `access key` are all `access`, `key`: lower case,
/// split at anything that is no letter or digit and where lower case turns to upper, without a
/// plural's s.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut after_lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (after_lower && letter.is_uppercase()) {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
        after_lower = letter.is_lowercase() || letter.is_numeric();
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    for word in &mut words {
        if word.len() > 3 && word.ends_with('s') && !word.ends_with("ss") {
            word.pop();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(name: &str) -> Says {
        KeyNames::new(&["pin".into()], &["token_count".into()]).unwrap().says(name)
    }

    #[test]
    fn a_name_is_told_by_its_words_in_any_spelling() {
        for name in [
            "password",
            "db_password",
            "dbPassword",
            "DB-PASSWORDS",
            "Authorization",
            "client_secret",
            "apiKey",
            "API_KEY",
            "apikey",
            "aws.access.key.id",
            "set-cookie",
            "userPin",
            "PGPASSWORD",
        ] {
            assert_eq!(says(name), Says::Secret, "{name}");
        }
    }

    #[test]
    fn a_token_may_be_a_count() {
        for name in ["token", "tokens", "access_token", "tokensUsed"] {
            assert_eq!(says(name), Says::SecretText, "{name}");
        }
    }

    #[test]
    fn other_names_say_nothing() {
        for name in ["", "key", "keyboard", "pr", "secretary", "tokenizer", "spin", "token_count"] {
            assert_eq!(says(name), Says::Nothing, "{name}");
        }
        assert_eq!(says("tokenCount"), Says::Nothing, "harmless in any spelling");
    }

    #[test]
    fn a_configured_name_without_words_is_refused() {
        let error = KeyNames::new(&["--".into()], &[]).err().unwrap();
        assert_eq!(error, "secret_keys: \"--\" has no letters or digits to compare");
    }
}
