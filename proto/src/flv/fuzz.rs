//! Any bytes, cut anywhere: no panic, and no tag longer than what came.

use super::Reader;
use super::reader::tests::{file, read};

#[test]
fn mutated_files() {
    let (seed, _) = file();
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    for _ in 0..20_000 {
        let mut file = seed.clone();
        for _ in 0..=next(4) {
            let at = next(file.len());
            match next(3) {
                0 => file[at] = next(256) as u8,
                1 => file.insert(at, next(256) as u8),
                _ => file.truncate(at + 1),
            }
        }
        let (mut reader, mut found) = (Reader::new(), Vec::new());
        let cut = next(file.len() + 1);
        for piece in [&file[..cut], &file[cut..]] {
            reader.feed(piece);
            if read(&mut reader, &mut found).is_err() {
                break;
            }
        }
        let bytes: usize = found.iter().map(|(_, _, body)| body.len() + 11).sum();
        assert!(bytes <= file.len());
    }
}
