//! A client that fetches thing after thing on one connection that goes on, as players do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::wire::{Answer, PATIENCE, Wire};

pub struct Client {
    to: SocketAddr,
    wire: Wire,
}

impl Client {
    pub fn new(to: SocketAddr) -> Client {
        let wire = Wire::connect(to);
        // What is next may be two segments away.
        wire.set_patience(PATIENCE * 2);
        Client { to, wire }
    }

    /// The whole answer, whatever its status.
    pub fn get(&mut self, target: &str) -> Answer {
        self.get_with(target, &[])
    }

    pub fn get_with(&mut self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.wire.request("GET", target, headers);
        self.answer(target)
    }

    /// Asks, and does not wait: what is next is answered when it is there.
    pub fn ask(&mut self, target: &str) {
        self.wire.request("GET", target, &[]);
    }

    /// The answer to the oldest question.
    pub fn answer(&mut self, target: &str) -> Answer {
        let answer = self.wire.try_answer("GET");
        let answer = answer.unwrap_or_else(|why| panic!("GET {target}: {why}"));
        let has_end = answer.header("content-length").is_some()
            || answer.header("transfer-encoding").is_some()
            || matches!(answer.status, 204 | 304);
        assert!(
            has_end,
            "GET {target}: who waits for its end waits for ever:\n{}",
            answer.head
        );
        if answer
            .header("connection")
            .is_some_and(|says| says.eq_ignore_ascii_case("close"))
        {
            *self = Client::new(self.to);
        }
        answer
    }

    /// The body of an answer that is 200.
    pub fn body(&mut self, target: &str) -> Vec<u8> {
        let answer = self.get(target);
        assert_eq!(
            answer.status,
            200,
            "GET {target}:\n{}\n{}",
            answer.head,
            text_of(&answer)
        );
        answer.body
    }

    pub fn text(&mut self, target: &str) -> String {
        String::from_utf8(self.body(target)).unwrap_or_else(|_| panic!("GET {target}: no text"))
    }

    /// Asks until the answer is 200. A stream that begins may not be there yet, and says so; each try waits for an answer.
    pub fn text_when_there(&mut self, target: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            let answer = self.get(target);
            if answer.status == 200 {
                return text_of(&answer);
            }
            assert!(
                matches!(answer.status, 404 | 503) && Instant::now() < deadline,
                "GET {target}:\n{}\n{}",
                answer.head,
                text_of(&answer)
            );
        }
    }
}

pub fn text_of(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// What `uri` in the text at `base` stands for (RFC 3986 5.2, of what our texts have).
pub fn resolve(base: &str, uri: &str) -> String {
    if uri.starts_with('/') {
        return uri.to_string();
    }
    if let Some(rest) = uri.strip_prefix("http://") {
        return rest.find('/').map_or("/".to_string(), |at| rest[at..].to_string());
    }
    let base = base.split('?').next().unwrap_or(base);
    let (path, query) = uri.find('?').map_or((uri, ""), |at| uri.split_at(at));
    let mut folders: Vec<&str> = base.split('/').collect();
    folders.pop();
    for step in path.split('/') {
        match step {
            "." => {}
            ".." => {
                folders.pop();
            }
            step => folders.push(step),
        }
    }
    folders.join("/") + query
}

/// The target with more in its query.
pub fn with_query(target: &str, more: &str) -> String {
    if more.is_empty() {
        return target.to_string();
    }
    let mark = if target.contains('?') { '&' } else { '?' };
    format!("{target}{mark}{more}")
}
