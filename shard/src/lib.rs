//! One pinned core and all it owns.
