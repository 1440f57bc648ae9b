//! The bytes in which a session travels between shards and processes: fields in a fixed order, big-endian, lengths
//! before what has one. Not a format for storage: [`LAYOUT`] changes with the fields.

use super::error::ImportError;

/// First byte of an exported session.
pub const LAYOUT: u8 = 2;

/// Appends fields.
#[derive(Debug)]
pub struct Snapshot<'a>(pub &'a mut Vec<u8>);

impl Snapshot<'_> {
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value);
    }
}

/// Takes fields.
#[derive(Debug)]
pub struct Import<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Import<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Import { input, at: 0 }
    }

    pub fn u8(&mut self) -> Result<u8, ImportError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u32(&mut self) -> Result<u32, ImportError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, ImportError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub fn bytes(&mut self, bytes_max: usize) -> Result<&'a [u8], ImportError> {
        let bytes = self.u32()? as usize;
        self.require(bytes <= bytes_max)?;
        self.slice(bytes)
    }

    pub fn text(&mut self, bytes_max: usize) -> Result<&'a str, ImportError> {
        let bytes = self.bytes(bytes_max)?;
        std::str::from_utf8(bytes).map_err(|_| self.invalid())
    }

    pub fn require(&self, holds: bool) -> Result<(), ImportError> {
        if holds { Ok(()) } else { Err(self.invalid()) }
    }

    pub fn invalid(&self) -> ImportError {
        ImportError::Invalid { offset: self.at }
    }

    /// Nothing is left.
    pub fn end(&self) -> Result<(), ImportError> {
        self.require(self.at == self.input.len())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImportError> {
        let mut field = [0; N];
        field.copy_from_slice(self.slice(N)?);
        Ok(field)
    }

    fn slice(&mut self, bytes: usize) -> Result<&'a [u8], ImportError> {
        let rest = &self.input[self.at..];
        let field = rest.get(..bytes).ok_or(ImportError::Truncated {
            offset: self.input.len(),
        })?;
        self.at += bytes;
        Ok(field)
    }
}
