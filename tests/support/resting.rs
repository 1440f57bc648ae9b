//! A stream whose publisher rests in the middle of a segment, so that what is next does not come before a test wants it.

use serde_json::{Value, json};

use penstock_proto::hls::check::{self, Media};

use super::clips;
use super::fetch::{Client, resolve, with_query};
use super::flv::Tag;
use super::follow::is_of_the_test;
use super::rtmp::Publisher;
use super::segmented;
use super::server::Server;
use super::wire::PATIENCE;

pub const LIST: &str = "/cmaf/live/1/index.m3u8";
const PACE: u32 = 8;
/// Media before the publisher rests: a whole segment, and half of one.
const HEAD_MILLIS: u32 = 3_000;

/// With what its playlist says when it rests.
pub struct Resting {
    pub server: Server,
    pub publisher: Publisher,
    rest: Vec<Tag>,
    pub client: Client,
    pub list: Media,
}

impl Resting {
    pub fn new() -> Resting {
        Resting::with(json!({}))
    }

    /// With these settings of the stream.
    pub fn with(stream: Value) -> Resting {
        Resting::on(
            Server::start(&segmented::config(stream)),
            &clips::NO_B_FRAMES.part(u32::MAX),
        )
    }

    pub fn on(server: Server, tags: &[Tag]) -> Resting {
        let mut publisher = Publisher::start(server.rtmp, "live", PACE);
        let (before, rest) = tags.split_at(tags.partition_point(|tag| tag.time < HEAD_MILLIS));
        publisher.send(before);
        let mut client = Client::new(server.http);
        // It waits for the half segment's last part: what was sent before it is there.
        client.text_when_there(LIST, PATIENCE);
        let text = client.text(&with_query(LIST, "_HLS_msn=2&_HLS_part=1"));
        let (list, mut problems) = check::read_media(&text);
        problems.retain(|problem| !is_of_the_test(&problem.what));
        assert!(problems.is_empty(), "{problems:?}\n{text}");
        assert!(list.segments.len() == 1 && list.growing.is_some(), "{text}");
        Resting {
            server,
            publisher,
            rest: rest.to_vec(),
            client,
            list,
        }
    }

    /// The rest of what it was given, at its pace.
    pub fn go_on(&mut self) {
        self.publisher.restart_clock();
        self.publisher.send(&std::mem::take(&mut self.rest));
    }

    /// Of a whole segment, with its epoch.
    pub fn segment(&self) -> String {
        resolve(LIST, &self.list.segments[0].uri)
    }

    /// Of the segment that is being made.
    pub fn growing(&self) -> String {
        let growing = self.list.growing.as_ref().expect("there is one");
        let first = resolve(LIST, &growing.parts[0].uri);
        let (name, query) = first.split_once('?').expect("it has a query");
        let name = name.rsplit_once(".0.m4s").expect("it is the first part").0;
        format!("{name}.m4s?{query}")
    }

    /// Of the part that is next.
    pub fn hint(&self) -> String {
        let hint = self.list.hints.first().expect("what is next is hinted at");
        resolve(LIST, &hint.uri)
    }

    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> (u16, String, Vec<u8>) {
        let answer = self.client.get_with(target, headers);
        (answer.status, answer.head, answer.body)
    }
}
