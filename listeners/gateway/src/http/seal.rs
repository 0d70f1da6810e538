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

    /// A cookie that says who somebody is until a moment, in seconds since 1970.
    pub(super) fn cookie(&self, user: &str, until: i64) -> Option<String> {
        let text = format!("{user}.{until}");
        let sum = self.sum("cookie", &text)?;
        Some(format!("{text}.{sum}"))
    }

    /// Who it is, if the seal is right and its time is not over.
    pub(super) fn user<'a>(&self, cookie: &'a str, now: i64) -> Option<&'a str> {
        let (text, sum) = cookie.rsplit_once('.')?;
        let (user, until) = text.rsplit_once('.')?;
        let until: i64 = until.parse().ok()?;
        (until > now && self.fits("cookie", text, sum)).then_some(user)
    }

    /// What a page that has a cookie sends with whatever it changes.
    pub(super) fn token(&self, cookie: &str) -> Option<String> {
        self.sum("token", cookie)
    }

    /// Whether a page has read the token of its cookie: another site's page cannot.
    pub(super) fn fits_token(&self, cookie: &str, token: &str) -> bool {
        self.fits("token", cookie, token)
    }

    fn sum(&self, what: &str, text: &str) -> Option<String> {
        let sum = hmac::sign(self.0.as_ref()?, format!("{what}:{text}").as_bytes());
        Some(BASE64.encode(sum))
    }

    fn fits(&self, what: &str, text: &str, sum: &str) -> bool {
        let (Some(key), Ok(sum)) = (&self.0, BASE64.decode(sum)) else { return false };
        hmac::verify(key, format!("{what}:{text}").as_bytes(), &sum).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_counts_and_not_for_ever() {
        let seal = Seal::new(Some(b"0123456789abcdef"));
        let cookie = seal.cookie("ann", 100).unwrap();
        assert_eq!(seal.user(&cookie, 99), Some("ann"));
        assert_eq!(seal.user(&cookie, 100), None);
        assert_eq!(seal.user(&cookie.replace("ann", "bob"), 0), None);
        assert_eq!(seal.user(&cookie.replace("100", "900"), 0), None);
        assert_eq!(seal.user("", 0), None);
        assert_eq!(seal.user("ann.100", 0), None);
        assert_eq!(Seal::new(None).user(&cookie, 0), None);
        // Gateways that share a secret share cookies.
        assert_eq!(Seal::new(Some(b"0123456789abcdef")).user(&cookie, 0), Some("ann"));
        let token = seal.token(&cookie).unwrap();
        assert!(seal.fits_token(&cookie, &token));
        assert!(!seal.fits_token(&seal.cookie("ann", 101).unwrap(), &token));
        let sum = cookie.rsplit_once('.').unwrap().1;
        assert!(!seal.fits_token(&cookie, sum));
    }
}
