//! One TLS connection as a seal: rustls's records go in and out as slices of the shard's buffers.
//!
//! rustls keeps places in the input that it was given, of handshake messages that are not whole yet. So it is given the same
//! input again in every call, those that only seal included: given less, it would look for them behind its end.

use std::ops::DerefMut;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use penstock_shard::seal::{Broken, Closed, Seal, Taken};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedConnectionCommon, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{ClientConfig, ServerConfig};

use super::error::Error;
use crate::config::quoted;

pub(super) struct Tls {
    side: Side,
    progress: Progress,
    plain_answer: &'static [u8],
}

enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing has come.
    Fresh,
    Handshake,
    Open,
}

/// What a record adds to the bytes in it: its head, and with TLS 1.2's explicit nonces and tag at most 24 more.
const RECORD_OVERHEAD_BYTES: usize = 64;

impl Tls {
    pub fn server(config: Arc<ServerConfig>, plain_answer: &'static [u8]) -> Result<Tls, rustls::Error> {
        Ok(Tls {
            side: Side::Server(Box::new(UnbufferedServerConnection::new(config)?)),
            progress: Progress::Fresh,
            plain_answer,
        })
    }

    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Tls, rustls::Error> {
        Ok(Tls {
            side: Side::Client(Box::new(UnbufferedClientConnection::new(config, name)?)),
            progress: Progress::Fresh,
            plain_answer: b"",
        })
    }

    /// Who speaks text is answered in text, where there is an answer.
    fn refuse_plain(&mut self, begins: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let is_word = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_uppercase);
        if self.progress != Progress::Fresh || begins.is_empty() {
            return Ok(());
        }
        self.progress = Progress::Handshake;
        match &self.side {
            // A record begins with a number below 32.
            Side::Server(_) if is_word(&begins[..begins.len().min(3)]) => {
                out.extend_from_slice(self.plain_answer);
                // Behind it may be a password.
                let word = begins.split(|byte| !byte.is_ascii_uppercase()).next();
                let begins = quoted(&String::from_utf8_lossy(word.unwrap_or_default()));
                Err(Error::Plain { begins })
            }
            _ => Ok(()),
        }
    }
}

impl Seal for Tls {
    fn is_open(&self) -> bool {
        self.progress == Progress::Open
    }

    fn seal(&mut self, plain: &[u8], kept: &mut [u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let sealed = guarded(|| match &mut self.side {
            Side::Server(connection) => write(&mut **connection, kept, |traffic| encrypt(traffic, plain, out)),
            Side::Client(connection) => write(&mut **connection, kept, |traffic| encrypt(traffic, plain, out)),
        })?;
        sealed.ok_or_else(|| Error::WornOut.into())
    }

    fn open(&mut self, sealed: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Taken, Broken> {
        self.refuse_plain(sealed, out)?;
        let run = guarded(|| match &mut self.side {
            Side::Server(connection) => run(&mut **connection, sealed, plain, out),
            Side::Client(connection) => run(&mut **connection, sealed, plain, out),
        })?;
        let run = run.map_err(Error::from)?;
        if run.is_open {
            self.progress = Progress::Open;
        }
        Ok(Taken {
            bytes: run.taken,
            closed: run.closed,
        })
    }

    fn close(&mut self, kept: &mut [u8], out: &mut Vec<u8>) {
        let said = guarded(|| match &mut self.side {
            Side::Server(connection) => write(&mut **connection, kept, |traffic| close(traffic, out)),
            Side::Client(connection) => write(&mut **connection, kept, |traffic| close(traffic, out)),
        });
        // A connection whose key is worn out ends without a word.
        let _ = said;
    }
}

/// What `work` gives. A panic in it ends this connection and no other: the shard does not use a seal again that has failed.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Error::Defect)
}

/// Either side of rustls's.
trait Records: DerefMut<Target = UnbufferedConnectionCommon<Self::Data>> {
    type Data;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(input)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(input)
    }
}

struct Run {
    taken: usize,
    closed: Closed,
    is_open: bool,
}

/// Takes all that is whole.
fn run<R: Records>(
    records: &mut R,
    input: &mut [u8],
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Run, rustls::Error> {
    let (mut taken, mut closed) = (0, Closed::No);
    loop {
        let UnbufferedStatus { mut discard, state } = records.process(&mut input[taken..]);
        let is_open = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    plain.extend_from_slice(record.payload);
                }
                None
            }
            Ok(ConnectionState::EncodeTlsData(message)) => {
                encode(message, out);
                None
            }
            Ok(ConnectionState::TransmitTlsData(transmitted)) => {
                transmitted.done();
                None
            }
            Ok(ConnectionState::PeerClosed) => {
                closed = Closed::Yes;
                None
            }
            Ok(ConnectionState::WriteTraffic(_)) => Some(true),
            Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Some(false),
            // Early data, which is not offered, and what a later rustls may have.
            Ok(_) => return Err(rustls::Error::General("an unknown state".into())),
            Err(error) => {
                last_words(records, &mut input[taken + discard..], out);
                return Err(error);
            }
        };
        taken += discard;
        if let Some(is_open) = is_open {
            return Ok(Run { taken, closed, is_open });
        }
    }
}

/// The alert that says what was wrong.
fn last_words<R: Records>(records: &mut R, input: &mut [u8], out: &mut Vec<u8>) {
    while let UnbufferedStatus {
        state: Ok(ConnectionState::EncodeTlsData(message)),
        ..
    } = records.process(input)
    {
        encode(message, out);
    }
}

fn encode<Data>(mut message: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) {
    let begin = out.len();
    if let Err(EncodeError::InsufficientSize(size)) = message.encode(&mut []) {
        out.resize(begin + size.required_size, 0);
        let written = message.encode(&mut out[begin..]).unwrap_or(0);
        out.truncate(begin + written);
    }
}

/// Does `work` where application data may be written; none if it may not be, or `work` fails.
fn write<R: Records>(
    records: &mut R,
    kept: &mut [u8],
    work: impl FnOnce(&mut WriteTraffic<'_, R::Data>) -> Option<()>,
) -> Option<()> {
    match records.process(kept).state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => work(&mut traffic),
        _ => None,
    }
}

fn encrypt<Data>(traffic: &mut WriteTraffic<'_, Data>, plain: &[u8], out: &mut Vec<u8>) -> Option<()> {
    append(out, plain.len() + RECORD_OVERHEAD_BYTES, |room| {
        traffic.encrypt(plain, room)
    })
}

fn close<Data>(traffic: &mut WriteTraffic<'_, Data>, out: &mut Vec<u8>) -> Option<()> {
    append(out, RECORD_OVERHEAD_BYTES, |room| traffic.queue_close_notify(room))
}

/// Appends what `fill` writes into room of `bytes`, or of as many as it asks for.
fn append(
    out: &mut Vec<u8>,
    bytes: usize,
    mut fill: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Option<()> {
    let begin = out.len();
    out.resize(begin + bytes, 0);
    let mut filled = fill(&mut out[begin..]);
    // Ahead of it goes a message of the connection's own, such as a new key.
    if let Err(EncryptError::InsufficientSize(size)) = &filled {
        out.resize(begin + size.required_size, 0);
        filled = fill(&mut out[begin..]);
    }
    out.truncate(begin + filled.as_ref().map_or(0, |written| *written));
    filled.ok().map(drop)
}
