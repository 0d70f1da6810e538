//! Cookies that only a gateway can have made.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::hmac;
use ring::rand::SystemRandom;

/// What seals cookies.
pub(super) struct Seal(Option<hmac::Key>);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// By a secret; by one that nobody knows where there is none.
    pub(super) fn new(secret: Option<&[u8]>) -> Seal {
        let key = match secret {
            Some(secret) => Some(hmac::Key::new(hmac::HMAC_SHA256, secret)),
            // A machine without random numbers lets nobody in by a cookie.
            None => hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
        };
        Seal(key)
    }

    /// A cookie that says who somebody is until a moment, in seconds since 1970. `stamp` is in the
    /// seal, and not in the cookie: it counts no longer once the user's stamp is another one.
    pub(super) fn cookie(&self, user: &str, stamp: &[u8], until: i64) -> Option<String> {
        let text = format!("{user}.{until}");
        let sum = self.sum("cookie", &text, stamp)?;
        Some(format!("{text}.{sum}"))
    }

    /// Who it is, if the seal is right and its time is not over.
    pub(super) fn user<'a, S: AsRef<[u8]>>(
        &self,
        cookie: &'a str,
        stamp: impl FnOnce(&str) -> Option<S>,
        now: i64,
    ) -> Option<&'a str> {
        let (text, sum) = cookie.rsplit_once('.')?;
        let (user, until) = text.rsplit_once('.')?;
        let until: i64 = until.parse().ok()?;
        let fits = until > now && self.fits("cookie", text, stamp(user)?.as_ref(), sum);
        fits.then_some(user)
    }

    /// What a page that has a cookie sends with whatever it changes.
    pub(super) fn token(&self, cookie: &str) -> Option<String> {
        self.sum("token", cookie, &[])
    }

    /// Whether a page has read the token of its cookie: another site's page cannot.
    pub(super) fn fits_token(&self, cookie: &str, token: &str) -> bool {
        self.fits("token", cookie, &[], token)
    }

    fn sum(&self, what: &str, text: &str, stamp: &[u8]) -> Option<String> {
        let sum = hmac::sign(self.0.as_ref()?, &sealed(what, text, stamp));
        Some(BASE64.encode(sum))
    }

    fn fits(&self, what: &str, text: &str, stamp: &[u8], sum: &str) -> bool {
        let (Some(key), Ok(sum)) = (&self.0, BASE64.decode(sum)) else { return false };
        hmac::verify(key, &sealed(what, text, stamp), &sum).is_ok()
    }
}

/// What is sealed. No text has a zero in it.
fn sealed(what: &str, text: &str, stamp: &[u8]) -> Vec<u8> {
    [what.as_bytes(), text.as_bytes(), stamp].join(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_counts_and_not_for_ever() {
        let seal = Seal::new(Some(b"0123456789abcdef"));
        let cookie = seal.cookie("ann", b"stamp", 100).unwrap();
        let user = |seal: &Seal, cookie: &str, stamp: &'static str, now| {
            seal.user(cookie, |_| Some(stamp), now).map(str::to_owned)
        };
        assert_eq!(user(&seal, &cookie, "stamp", 99).as_deref(), Some("ann"));
        assert_eq!(user(&seal, &cookie, "stamp", 100), None);
        assert_eq!(user(&seal, &cookie, "another", 99), None, "the password is another one now");
        assert_eq!(seal.user(&cookie, |_| None::<&str>, 99), None, "nobody is called so now");
        assert_eq!(user(&seal, &cookie.replace("ann", "bob"), "stamp", 0), None);
        assert_eq!(user(&seal, &cookie.replace("100", "900"), "stamp", 0), None);
        assert_eq!(user(&seal, "", "stamp", 0), None);
        assert_eq!(user(&seal, "ann.100", "stamp", 0), None);
        assert_eq!(user(&Seal::new(None), &cookie, "stamp", 0), None);
        // Gateways that share a secret share cookies.
        let other = Seal::new(Some(b"0123456789abcdef"));
        assert_eq!(user(&other, &cookie, "stamp", 0).as_deref(), Some("ann"));
        let token = seal.token(&cookie).unwrap();
        assert!(seal.fits_token(&cookie, &token));
        assert!(!seal.fits_token(&seal.cookie("ann", b"stamp", 101).unwrap(), &token));
        let sum = cookie.rsplit_once('.').unwrap().1;
        assert!(!seal.fits_token(&cookie, sum));
    }
}
