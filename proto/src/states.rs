//! The states of a session, named for the tests that move it between shards in each of them. Only compiled for tests.
//!
//! The match is exhaustive and the names are its arms: a state that is added does not compile before it is named, and a
//! name that no dialogue of the tests reaches fails them.

/// `states!(fn name(Type) -> ALL { pattern => "name", … })` makes the function and the list of its answers.
macro_rules! states {
    ($(fn $name:ident($of:ty) -> $all:ident { $($pattern:pat => $state:literal),+ $(,)? })+) => {
        $(
            const $all: &[&str] = &[$($state),+];
            fn $name(of: &$of) -> &'static str {
                match of {
                    $($pattern => $state),+
                }
            }
        )+
    };
}

pub(crate) use states;
