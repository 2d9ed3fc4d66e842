//! The part of `[serve]` about webhooks: the default one, and the hosts that webhooks may reach.

use super::allowed::AllowList;
use super::secret::Secret;
use super::serve::options::Options;

/// The settings in effect, not checked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The default webhook.
    pub url: Option<Secret>,
    /// The secret that signs its messages.
    pub secret: Option<Secret>,
    /// Hosts and networks that webhooks may reach besides the public internet.
    pub allow: AllowList,
}

impl Settings {
    /// Fills unset options from the settings file.
    pub(crate) fn settle(options: &Options, file: &Options) -> Self {
        let either = |ours: &Option<Secret>, theirs: &Option<Secret>| {
            ours.as_ref().or(theirs.as_ref()).cloned()
        };
        let allow = options
            .webhook_allow
            .as_ref()
            .or(file.webhook_allow.as_ref());
        Self {
            url: either(&options.webhook_url, &file.webhook_url),
            secret: either(&options.webhook_secret, &file.webhook_secret),
            allow: allow.cloned().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let settings = Settings {
            url: Some(Secret::from("letmein".to_owned())),
            secret: Some(Secret::from("letmein".to_owned())),
            allow: AllowList::default(),
        };
        assert!(!format!("{settings:?}").contains("letmein"));
    }
}
