//! What a daemon says while it has no bus, and how long it rests.

use std::sync::Weak;
use std::time::Duration;

use async_nats::connection::State;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::connect::{ConnectOptions, Inner, why_not};

/// A server that was started anew is back before this; whoever waits for longer wants to know why.
const FIRST_AFTER: Duration = Duration::from_secs(1);
/// From the first time that it is said to the second one; then twice as long each time.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Longest time between two of them.
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// Credentials that were refused may hold once the server has read its files again.
const REFUSED_DELAY_MIN: Duration = Duration::from_millis(250);
/// Longest wait before they are tried again: each try is a line in the log of the server.
const REFUSED_DELAY_MAX: Duration = Duration::from_secs(5);

/// How long to wait before credentials are tried that were refused so often in a row.
pub(crate) fn refused_delay(times: u32) -> Option<Duration> {
    let doubled = 2u32.saturating_pow(times.checked_sub(1)?);
    Some(REFUSED_DELAY_MIN.saturating_mul(doubled).min(REFUSED_DELAY_MAX))
}

/// Whether a server does not let these credentials in.
pub(crate) fn is_refusal(why: &str) -> bool {
    why.contains("authorization violation")
}

/// One time without a bus.
pub(crate) struct Trouble {
    rest: Duration,
}

impl Trouble {
    pub(crate) fn new() -> Trouble {
        Trouble { rest: FIRST_AFTER }
    }

    /// How long to wait until it is said (again).
    pub(crate) fn rest(&self) -> Duration {
        self.rest
    }

    /// Looks why, and says it.
    pub(crate) async fn tell(&mut self, o: &ConnectOptions) {
        let next = if self.rest < AGAIN_AFTER { AGAIN_AFTER } else { self.rest * 2 };
        self.rest = next.min(AGAIN_MAX);
        // What async-nats tells of its own tries leaves out what matters.
        let Some(why) = why_not(o).await else { return };
        let url = shown(&o.urls);
        if !is_refusal(&why) {
            tracing::warn!(url, why, "no NATS server yet; still trying");
            return;
        }
        let file = o.access.files().first().map(|path| path.display().to_string());
        let file = file.unwrap_or_else(|| "none".to_owned());
        tracing::warn!(
            url,
            why,
            credentials = file,
            "the NATS server does not let these credentials in: unknown, revoked, or it has not \
             read its configuration since they were made; still trying"
        );
    }
}

/// Says it whenever the connection is lost for long, for as long as anybody uses it.
pub(crate) async fn watch(bus: Weak<Inner>, o: ConnectOptions, mut changes: watch::Receiver<u64>) {
    let mut trouble = Trouble::new();
    loop {
        let connected = match bus.upgrade() {
            Some(inner) => inner.client.connection_state() == State::Connected,
            None => return,
        };
        let heard = if connected {
            trouble = Trouble::new();
            Ok(changes.changed().await)
        } else {
            timeout(trouble.rest(), changes.changed()).await
        };
        match heard {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => trouble.tell(&o).await,
        }
    }
}

/// URLs without what stands before an `@`.
pub(crate) fn shown(urls: &[String]) -> String {
    let bare = |url: &String| match url.rsplit_once('@') {
        None => url.clone(),
        Some((before, host)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://{host}"),
            None => host.to_owned(),
        },
    };
    urls.iter().map(bare).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let urls = ["nats://ann:secret@h:4222".to_owned(), "h2:4222".to_owned()];
        assert_eq!(shown(&urls), "nats://h:4222,h2:4222");
    }

    #[test]
    fn credentials_that_are_refused_are_tried_less_and_less() {
        assert_eq!(refused_delay(0), None, "they were not refused");
        let delays = [1, 2, 3, 4, 5, 6, u32::MAX].map(|times| refused_delay(times).unwrap());
        assert!(delays.is_sorted());
        assert_eq!((delays[0], delays[6]), (REFUSED_DELAY_MIN, REFUSED_DELAY_MAX));
        assert!(is_refusal("authorization violation: x") && !is_refusal("IO error"));
    }
}
