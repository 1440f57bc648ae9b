//! Micro benches: what each step of a byte's way costs, as bodies that criterion times and valgrind counts.
//!
//! A step is set up and checked by its `start`; the body that comes of it does the same work each time it is called.

mod fan_out;
mod hot_path;
mod http_head;
pub mod instructions;
mod playlist;

/// Does the step's work once.
pub type Body = Box<dyn FnMut()>;

/// One step at one size.
pub struct Step {
    pub name: &'static str,
    pub size: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// How many of it one call of the body does.
    pub units: u64,
    /// That went through; 0 where bytes are not the matter.
    pub bytes: u64,
    /// # Panics
    /// When the step makes something else than it should: that would be another bench.
    pub start: Box<dyn Fn() -> Body>,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Step({}/{})", self.name, self.size)
    }
}

/// All of them.
pub fn all() -> Vec<Step> {
    let mut steps = hot_path::steps();
    steps.extend(http_head::steps());
    steps.extend(playlist::steps());
    steps.extend(fan_out::steps());
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smoke run: each step is set up, checked, and done twice.
    #[test]
    fn every_step_does_its_work_in_every_size() {
        let steps = all();
        let mut names: Vec<&str> = steps.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 14, "{names:?}");
        for name in names {
            assert!(
                steps.iter().filter(|step| step.name == name).count() >= 2,
                "two sizes of {name}"
            );
        }
        for step in &steps {
            assert!(step.units > 0);
            let mut body = (step.start)();
            body();
            body();
        }
    }
}
