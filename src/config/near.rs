//! The known name that a wrong one was probably meant to be.

/// The nearest of `known` when it is near enough to be worth asking: a typing error for every three characters.
pub fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer text is no mistyped key, and the cost grows with the product of the lengths.
    const LENGTH_MAX: usize = 64;
    if wrong.len() > LENGTH_MAX {
        return None;
    }
    let wrong = wrong.to_ascii_lowercase();
    let errors_max = wrong.chars().count() / 3 + 1;
    known
        .map(|name| (distance(&wrong, &name.to_ascii_lowercase()), name))
        .filter(|(errors, name)| *errors <= errors_max && *errors < name.len())
        .min_by_key(|(errors, _)| *errors)
        .map(|(_, name)| name)
}

/// Characters inserted, deleted, replaced, or swapped with their neighbour (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (index, row) in rows.iter_mut().enumerate() {
        row[0] = index;
    }
    for (index, cell) in rows[0].iter_mut().enumerate() {
        *cell = index;
    }
    for i in 1..=left.len() {
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognised() {
        let known = ["port", "interface", "connector", "DVR", "segmentsize"];
        let cases = [
            ("prot", Some("port")),
            ("Port", Some("port")),
            ("interfaces", Some("interface")),
            ("dvr", Some("DVR")),
            ("segment_size", Some("segmentsize")),
            ("conector", Some("connector")),
            ("", None),
            ("bandwidth", None),
            ("xyz", None),
        ];
        for (wrong, expected) in cases {
            assert_eq!(nearest(wrong, known.into_iter()), expected, "{wrong}");
        }
        assert_eq!(nearest(&"port".repeat(1_000_000), known.into_iter()), None);
    }
}
