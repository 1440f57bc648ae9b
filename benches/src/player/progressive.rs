//! One endless answer over HTTP: its body is the stream, by itself, in chunks or with a length.

use anyhow::bail;

use super::Turn;
use crate::answer::{Answer, Piece};
use crate::target::Target;

const REDIRECTS_MAX: u8 = 5;

#[derive(Debug)]
pub struct Progressive {
    target: Target,
    answer: Answer,
    redirects: u8,
    /// The answer at work only says where another one is.
    passed_over: bool,
}

impl Progressive {
    pub fn new(target: &Target) -> Progressive {
        Progressive {
            target: target.clone(),
            answer: Answer::default(),
            redirects: 0,
            passed_over: false,
        }
    }

    pub fn start(&mut self, turn: &mut Turn<'_>) {
        turn.ask(0, &self.target.authority, self.target.request(None));
    }

    pub fn take(&mut self, mut input: &[u8], turn: &mut Turn<'_>) -> anyhow::Result<()> {
        loop {
            match self.answer.next(&mut input)? {
                Piece::More => return Ok(()),
                Piece::Head(head) => match head.redirect() {
                    Some(place) if self.redirects < REDIRECTS_MAX => {
                        self.target = self.target.resolve(place)?;
                        self.redirects += 1;
                        if self.answer.ends_by_close() {
                            bail!("redirected by an answer without a length");
                        }
                        self.passed_over = true;
                    }
                    _ => head.check()?,
                },
                Piece::Body(_) if self.passed_over => {}
                Piece::Body(media) => turn.hear(media)?,
                Piece::End if std::mem::take(&mut self.passed_over) => self.start(turn),
                Piece::End => bail!("the answer has ended"),
            }
        }
    }

    pub fn droppable(&self) -> usize {
        if self.passed_over { 0 } else { self.answer.droppable() }
    }

    pub fn dropped(&mut self, bytes: usize) -> anyhow::Result<()> {
        if self.answer.dropped(bytes) {
            bail!("the answer has ended");
        }
        Ok(())
    }
}
