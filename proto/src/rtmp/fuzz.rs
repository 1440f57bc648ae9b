//! Damaged dialogues: whatever comes, a session neither panics nor holds more memory than its bounds.

use super::limits::REASSEMBLY_BYTES_MAX;
use super::session::tests::dialogues;
use super::{Event, Output, Session};

/// One life of a session over `input`; every request is accepted.
fn run(mut input: &[u8], step: usize) {
    let mut session = Session::new(0, 1);
    loop {
        let part = &input[..input.len().min(step)];
        let Ok(taken) = session.handle_input(0, part) else {
            assert!(session.is_closed());
            return;
        };
        input = &input[taken..];
        let (mut publish, mut play, mut outputs) = (false, false, 0);
        while let Some(output) = session.poll_output() {
            outputs += 1;
            match output {
                Output::Event(Event::PublishRequested { .. }) => publish = true,
                Output::Event(Event::PlayRequested { .. }) => play = true,
                Output::Media { body, .. } => assert!(body.len() <= REASSEMBLY_BYTES_MAX),
                _ => {}
            }
        }
        assert!(session.bytes() <= REASSEMBLY_BYTES_MAX + 64 * 1024);
        match (publish, play) {
            (true, _) => session.accept_publish(),
            (_, true) => session.accept_play(),
            _ if taken == 0 && outputs == 0 => return,
            _ => {}
        }
        while session.poll_output().is_some() {}
    }
}

#[test]
fn damaged_dialogues() {
    let mut random: u64 = 0x0DDB_A115;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let seeds = dialogues();
    for round in 0..4000 {
        let mut input = seeds[round % seeds.len()].clone();
        // Beyond the handshake, where the meaning is.
        let begin = 3073.min(input.len() - 1);
        for _ in 0..1 + next() % 6 {
            let at = begin + next() % (input.len() - begin);
            match next() % 6 {
                0 => input[at] ^= 1 << (next() % 8),
                1 => input[at] = [0, 0xFF, 0x80, 0x11, 3][next() % 5],
                2 => {
                    let end = (at + next() % 64).min(input.len());
                    input.drain(at..end);
                }
                3 => {
                    let end = (at + next() % 64).min(input.len());
                    let copy = input[at..end].to_vec();
                    let to = begin + next() % (input.len() - begin);
                    input.splice(to..to, copy);
                }
                4 => input.truncate(at.max(begin + 1)),
                _ => {
                    let noise = next().to_be_bytes();
                    input.splice(at..at, noise);
                }
            }
            if input.len() <= begin + 1 {
                break;
            }
        }
        run(&input, [1, 7, 500, usize::MAX][next() % 4]);
    }
}
