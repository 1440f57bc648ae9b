//! Whether the memory budget is made of larger pages: of those that are as large as its blocks, where the kernel may.
//!
//! Pages of a block's size make a block's first write, its punching and its `sendfile` cheaper and cost no
//! memory beyond it. Larger ones do: a block that is given back keeps its part of a page, and one block takes a whole one.
//! So they are asked for only where none larger could be given, and refused where larger ones would come by themselves.
//!
//! What the kernel may is the operator's to say, in `/sys/kernel/mm/transparent_hugepage` (`systemd/penstock-tmpfiles.conf`).

use std::fs;
use std::path::Path;

use penstock_shard::pool::{BLOCK_BYTES, Pages};

const FOLDER: &str = "/sys/kernel/mm/transparent_hugepage";

/// As the operator wants it and the kernel may.
pub fn pages(wanted: bool) -> Pages {
    match wanted {
        true => found(Path::new(FOLDER)),
        false => Pages::Small,
    }
}

/// Nothing to be read is nothing that may.
fn found(folder: &Path) -> Pages {
    let inherited = chosen(&folder.join("shmem_enabled"));
    let Ok(sizes) = fs::read_dir(folder) else {
        return Pages::Small;
    };
    let sizes = sizes.filter_map(|size| {
        let size = size.ok()?;
        let name = size.file_name();
        let kibibytes: u64 = name
            .to_str()?
            .strip_prefix("hugepages-")?
            .strip_suffix("kB")?
            .parse()
            .ok()?;
        let own = chosen(&size.path().join("shmem_enabled"))?;
        let says = if own == "inherit" { inherited.clone()? } else { own };
        matches!(says.as_str(), "always" | "within_size" | "advise" | "force").then_some(kibibytes)
    });
    match sizes.max() {
        Some(largest) if largest * 1024 == BLOCK_BYTES as u64 => Pages::OfBlocks,
        _ => Pages::Small,
    }
}

/// The word in brackets: `always [advise] never`.
fn chosen(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let word = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))?;
    Some(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as the kernel's, by size in KiB.
    fn found_in(name: &str, global: &str, sizes: &[(u64, &str)]) -> Pages {
        let folder = std::env::temp_dir().join(format!("penstock-pages-{name}-{}", std::process::id()));
        for (kibibytes, says) in sizes {
            let size = folder.join(format!("hugepages-{kibibytes}kB"));
            fs::create_dir_all(&size).unwrap();
            fs::write(size.join("shmem_enabled"), format!("never {says} always\n")).unwrap();
        }
        fs::write(folder.join("shmem_enabled"), format!("{global} never\n")).unwrap();
        fs::write(folder.join("enabled"), "always [madvise] never\n").unwrap();
        let found = found(&folder);
        fs::remove_dir_all(&folder).unwrap();
        found
    }

    #[test]
    fn pages_of_a_blocks_size_are_taken_where_none_larger_may_come() {
        let never = [(64, "[never]"), (256, "[never]"), (2048, "[inherit]")];
        assert_eq!(found_in("never", "[never]", &never), Pages::Small);
        let advised = [(64, "[advise]"), (256, "[advise]"), (2048, "[inherit]")];
        assert_eq!(found_in("advised", "[never]", &advised), Pages::OfBlocks);
        assert_eq!(found_in("larger", "[advise]", &advised), Pages::Small, "2 MiB may come");
        assert_eq!(found_in("smaller", "[never]", &advised[..1]), Pages::Small);
        let inherited = [(256, "[inherit]"), (2048, "[never]")];
        assert_eq!(found_in("inherited", "[within_size]", &inherited), Pages::OfBlocks);
        assert_eq!(found(Path::new("/nowhere")), Pages::Small);
        assert_eq!(pages(false), Pages::Small);
    }
}
