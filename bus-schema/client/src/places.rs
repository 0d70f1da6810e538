//! How durable consumers stand, for people who look after listeners.

use dsbus_schema::storage::events_stream;
use serde_json::{Value, json};

use crate::ack::NO_CONSUMER;
use crate::wire::ANSWER_MAX;
use crate::{Bus, Error, Share};

/// How a durable consumer of events stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Events that were not delivered yet.
    pub waiting: u64,
    /// Events that were delivered, and are not acknowledged.
    pub unacknowledged: u64,
    /// Whether somebody reads it. One that was killed counts for [`crate::STAND_BY`].
    pub read: bool,
    /// Who gets an event.
    pub share: Share,
}

impl Bus {
    /// All durable consumers of events, by name: of whatever listeners.
    ///
    /// # Errors
    /// Whatever keeps the server from answering.
    pub async fn places(&self) -> Result<Vec<Place>, Error> {
        let call = format!("CONSUMER.LIST.{}", events_stream(self.fleet()));
        let mut found = Vec::new();
        let mut offset = 0;
        loop {
            let answer = self.api(&call, &json!({ "offset": offset }), ANSWER_MAX).await?;
            let page = answer["consumers"].as_array().map_or(&[][..], Vec::as_slice);
            found.extend(page.iter().filter_map(place));
            offset += page.len();
            let total = answer["total"].as_u64().unwrap_or(0);
            if page.is_empty() || offset as u64 >= total {
                found.sort_by(|a, b| a.name.cmp(&b.name));
                // A consumer that went away meanwhile moves the others between two parts.
                found.dedup_by(|a, b| a.name == b.name);
                return Ok(found);
            }
        }
    }

    /// One of them; nothing when there is none of the name.
    ///
    /// # Errors
    /// Whatever keeps the server from answering.
    pub async fn place(&self, name: &str) -> Result<Option<Place>, Error> {
        let call = format!("CONSUMER.INFO.{}.{name}", events_stream(self.fleet()));
        match self.api(&call, &Value::Null, ANSWER_MAX).await {
            Ok(info) => Ok(place(&info)),
            Err(Error::Api { code: NO_CONSUMER, .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// What the server says of a consumer; nothing of one that is not durable.
fn place(info: &Value) -> Option<Place> {
    let name = info["config"]["durable_name"].as_str().filter(|name| !name.is_empty())?;
    let number = |key: &str| info[key].as_u64().unwrap_or(0);
    let pinned =
        |group: &Value| group["pinned_client_id"].as_str().is_some_and(|id| !id.is_empty());
    let pinned = info["priority_groups"].as_array().is_some_and(|groups| groups.iter().any(pinned));
    let alone = info["config"]["priority_policy"] == "pinned_client";
    Some(Place {
        name: name.to_owned(),
        waiting: number("num_pending"),
        unacknowledged: number("num_ack_pending"),
        read: number("num_waiting") > 0 || pinned || info["push_bound"] == true,
        share: if alone { Share::One } else { Share::Many },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_by_one_who_pulls_or_is_pinned() {
        let config = json!({ "durable_name": "a", "priority_policy": "pinned_client" });
        let info = json!({ "config": config, "num_pending": 7, "num_ack_pending": 2 });
        let found = place(&info).unwrap();
        let none = Place {
            name: "a".to_owned(),
            waiting: 7,
            unacknowledged: 2,
            read: false,
            share: Share::One,
        };
        assert_eq!(found, none);
        for (key, value) in [
            ("num_waiting", json!(1)),
            ("push_bound", json!(true)),
            ("priority_groups", json!([{ "group": "reader", "pinned_client_id": "x" }])),
        ] {
            let mut info = info.clone();
            info[key] = value;
            assert_eq!(place(&info), Some(Place { read: true, ..none.clone() }), "{key}");
        }
        let many =
            json!({ "config": { "durable_name": "a" }, "priority_groups": [{ "group": "x" }] });
        let many = place(&many).unwrap();
        assert_eq!((many.read, many.share), (false, Share::Many));
        assert_eq!(place(&json!({ "name": "x", "config": { "name": "x" } })), None);
    }
}
