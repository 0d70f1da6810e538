//! Whom a worker trusts: what is on the bus it runs. So it asks for a bus that nobody on the way can
//! write to, and for signatures where there are users who could.

use std::path::Path;

use dsbus_client::{Credentials, Signers, reach};

use crate::config::Config;
use crate::failure::Failure;

/// Looks whether a worker may run without `--insecure`.
///
/// # Errors
/// When it may not, with what to do.
pub(super) fn check(config: &Config, signers: Option<&Path>) -> Result<(), Failure> {
    let open =
        config.urls.iter().find(|url| !reach::is_loopback(url) && !config.access.encrypts(url));
    if let Some(url) = open {
        let why = format!(
            "{} is not this machine, and has no TLS: whoever is on the way could run anything here",
            reach::shown(url)
        );
        return Err(Failure::usage(why)
            .hint("name it as tls://..., or give its CA with --tls-ca; or give --insecure"));
    }
    match signers {
        Some(path) => Signers::read(path).map(drop).map_err(|e| {
            Failure::usage(format!("signers_file cannot be used: {e}"))
                .hint("it holds the public NKey of each scheduler, one a line")
        }),
        None if has_credentials(config) => {
            let why = "it has credentials, so others have, too, and nothing says whose placements it \
                       runs: any user of the bus could have it run anything";
            Err(Failure::usage(why).hint(
                "name a file of the schedulers' public NKeys as signers_file in worker.toml; or give \
                 --insecure",
            ))
        }
        None => Ok(()),
    }
}

/// Also a certificate of its own: servers may know users by it.
fn has_credentials(config: &Config) -> bool {
    config.access.tls.own.is_some()
        || match &config.access.credentials {
            Credentials::Address => config.urls.iter().any(|url| reach::has_user(url)),
            Credentials::File(_)
            | Credentials::Nkey(_)
            | Credentials::Password { .. }
            | Credentials::Token(_)
            | Credentials::Jwt { .. } => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;
    use crate::config::Surroundings;

    #[test]
    fn whoever_has_credentials_says_whom_it_obeys_and_a_certificate_is_one() {
        let asked = |options: &str| {
            let words = format!("dsbus {options} worker");
            let globals = args::parse(words.split(' ')).unwrap().globals;
            let config = Config::resolve(&globals, Surroundings::default()).unwrap();
            check(&config, None).map_err(|failure| format!("{failure:?}"))
        };
        let nobody = "--nats tls://10.1.2.3:4222";
        assert_eq!(asked(nobody), Ok(()));
        let known = format!("{nobody} --tls-cert w1.pem --tls-key w1.key");
        for options in [known.as_str(), "--nats tls://ann:x@10.1.2.3:4222"] {
            let why = asked(options).unwrap_err();
            assert!(why.contains("it has credentials"), "{why}");
        }
    }
}
