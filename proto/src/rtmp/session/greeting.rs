//! The handshake of a session: C0 and C1 are collected, answered, C2 is skipped.

use super::super::error::{Error, ImportError};
use super::super::snapshot::{Import, Snapshot};
use super::super::wire::handshake::{HELLO_BYTES, PACKET_BYTES, answer, check_version};
use super::Outbox;

#[derive(Debug)]
pub(super) struct Greeting {
    seed: u64,
    deadline_ms: u64,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// What came of C0 and C1.
    Hello(Vec<u8>),
    /// Bytes of C2 that came.
    Confirmation(usize),
}

impl Greeting {
    pub(super) fn new(seed: u64, deadline_ms: u64) -> Self {
        Greeting {
            seed,
            deadline_ms,
            stage: Stage::Hello(Vec::new()),
        }
    }

    pub(super) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match &self.stage {
            Stage::Hello(bytes) => bytes.capacity(),
            Stage::Confirmation(_) => 0,
        }
    }

    /// Bytes taken, and at the end of the handshake the number of all its bytes.
    pub(super) fn handle_input(&mut self, input: &[u8], outbox: &mut Outbox) -> Result<(usize, Option<u64>), Error> {
        match &mut self.stage {
            Stage::Hello(bytes) => {
                if bytes.is_empty()
                    && let Some(&version) = input.first()
                {
                    check_version(version)?;
                }
                let part = input.len().min(HELLO_BYTES - bytes.len());
                bytes.extend_from_slice(&input[..part]);
                if let Ok(hello) = bytes.as_slice().try_into() {
                    answer(hello, self.seed, &mut outbox.bytes)?;
                    self.stage = Stage::Confirmation(0);
                }
                Ok((part, None))
            }
            Stage::Confirmation(came) => {
                let part = input.len().min(PACKET_BYTES - *came);
                *came += part;
                let done = (*came == PACKET_BYTES).then_some((HELLO_BYTES + PACKET_BYTES) as u64);
                Ok((part, done))
            }
        }
    }

    pub(super) fn export(&self, out: &mut Snapshot<'_>) {
        out.u64(self.seed);
        out.u64(self.deadline_ms);
        match &self.stage {
            Stage::Hello(bytes) => {
                out.u8(0);
                out.bytes(bytes);
            }
            Stage::Confirmation(came) => {
                out.u8(1);
                out.u32(*came as u32);
            }
        }
    }

    pub(super) fn import(input: &mut Import<'_>) -> Result<Greeting, ImportError> {
        let (seed, deadline_ms) = (input.u64()?, input.u64()?);
        let stage = match input.u8()? {
            0 => Stage::Hello(input.bytes(HELLO_BYTES - 1)?.to_vec()),
            1 => {
                let came = input.u32()? as usize;
                input.require(came < PACKET_BYTES)?;
                Stage::Confirmation(came)
            }
            _ => return Err(input.invalid()),
        };
        Ok(Greeting {
            seed,
            deadline_ms,
            stage,
        })
    }
}
