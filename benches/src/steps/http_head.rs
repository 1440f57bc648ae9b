//! What does it cost to read the head of a request, in a session of its own? And what a question with its answer, on a
//! connection that is kept?
//!
//! Two sizes of heads: what a player on libavformat sends, and what a browser sends from behind a page with cookies. Four of
//! answers: a refusal, a text that the session sends, and the heads of a segment and of a range that others send.

use std::hint::black_box;

use penstock_proto::http::{Answer, Cache, Coding, ContentRange, Event, Head, Length, Limits, Output, Session, Status};

use super::{Body, Step};

const REQUESTS: u64 = 100;
const PLAYER: &str = "GET /live.flv HTTP/1.1\r\nUser-Agent: Lavf/59.27.100\r\nAccept: */*\r\nRange: bytes=0-\r\n\
                      Connection: close\r\nHost: 192.0.2.7:8080\r\nIcy-MetaData: 1\r\n\r\n";
const KEPT: &str = "GET /cmaf/live/1/chunk_240000.m4s?e=4f9d2b HTTP/1.1\r\nHost: 192.0.2.7:8080\r\n\r\n";

const SEGMENT: Head<'_> = Head {
    status: Status::Ok,
    content_type: "video/mp4",
    length: Length::Known(650_000),
    content_range: None,
    etag: Some("\"4f9d2b-1-240000\""),
    cache: Cache::Immutable { max_age_seconds: 60 },
    coding: Coding::Only,
    wall_seconds: 1_764_120_000,
};
const PART: Head<'_> = Head {
    status: Status::PartialContent,
    length: Length::Chunked,
    content_range: Some(ContentRange::open(325_000)),
    ..SEGMENT
};

pub fn steps() -> Vec<Step> {
    let heads = [("player", PLAYER.to_owned()), ("browser", browser())];
    let read = heads.into_iter().map(|(size, head)| Step {
        name: "http_head",
        size,
        unit: "request",
        units: REQUESTS,
        bytes: REQUESTS * head.len() as u64,
        start: Box::new(move || read(head.clone())),
    });
    let answers: [(&str, Answering); 4] = [
        ("refusal", |session| {
            session.refuse(0, Status::NotFound, "no such segment")
        }),
        ("fixed", |session| {
            session.respond(0, Status::Ok, "application/vnd.apple.mpegurl", &[b'#'; 1_500]);
        }),
        ("segment", |session| begin(session, &SEGMENT)),
        ("part", |session| begin(session, &PART)),
    ];
    let answer = answers.into_iter().map(|(size, by)| Step {
        name: "http_answer",
        size,
        unit: "answer",
        units: REQUESTS,
        bytes: 0,
        start: Box::new(move || answer(by)),
    });
    read.chain(answer).collect()
}

fn browser() -> String {
    let mut head = String::from(
        "GET /live.mp4?token=4f9d2b77c1 HTTP/1.1\r\nHost: video.example.org\r\nConnection: keep-alive\r\n\
         sec-ch-ua: \"Chromium\";v=\"126\", \"Not.A/Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\n\
         sec-ch-ua-platform: \"Linux\"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like \
         Gecko) Chrome/126.0.0.0 Safari/537.36\r\nAccept: */*\r\nAccept-Encoding: identity;q=1, *;q=0\r\n\
         Accept-Language: en-GB,en;q=0.9\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\n\
         Sec-Fetch-Dest: video\r\nReferer: https://video.example.org/\r\nRange: bytes=0-\r\nCookie: ",
    );
    for number in 0..16 {
        head += &format!("cookie{number}=0123456789abcdef0123456789abcdef; ");
    }
    head + "last=1\r\n\r\n"
}

fn read(head: String) -> Body {
    let body = move || {
        for _ in 0..REQUESTS {
            let mut session = Session::new(0, Limits::default());
            let taken = session.handle_input(0, black_box(head.as_bytes()));
            assert_eq!(taken.ok(), Some(head.len()), "a head is taken whole");
            let mut requests = 0;
            while let Some(output) = session.poll_output() {
                if let Output::Event(Event::Request(request)) = output {
                    assert!(request.path().starts_with("/live."));
                    requests += 1;
                }
            }
            assert_eq!(requests, 1, "it is a request");
        }
    };
    body();
    Box::new(body)
}

type Answering = fn(&mut Session);

fn begin(session: &mut Session, head: &Head<'_>) {
    assert_eq!(session.respond_body(0, head), Answer::Body);
}

fn answer(by: Answering) -> Body {
    let mut session = Session::new(0, Limits::default());
    let body = move || {
        for _ in 0..REQUESTS {
            let taken = session.handle_input(0, black_box(KEPT.as_bytes()));
            assert_eq!(taken.ok(), Some(KEPT.len()), "a head is taken whole");
            let mut bytes = 0;
            while let Some(output) = session.poll_output() {
                assert!(matches!(output, Output::Event(Event::Request(_))), "a kept connection");
            }
            by(&mut session);
            while let Some(Output::Transmit(sent)) = session.poll_output() {
                bytes += black_box(sent).len();
            }
            assert!(bytes > 100, "it is answered");
            if session.is_sending() {
                session.body_sent(0);
            }
        }
    };
    Box::new(body)
}
