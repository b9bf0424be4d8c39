//! Numbers of workers, by which the user can tell them apart.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::parallel::lock;

/// The numbers in use by the workers of one kind.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<BTreeSet<usize>>);

/// The number of a worker among those of its kind, counted from 1. Dropping it frees the number.
#[derive(Debug)]
pub(super) struct Number {
    value: usize,
    numbers: Arc<Numbers>,
}

impl Numbers {
    /// Takes the lowest free number.
    pub(super) fn take(self: &Arc<Self>) -> Number {
        let mut taken = self.taken();
        let value = taken
            .iter()
            .zip(1..)
            .find(|(number, place)| **number != *place)
            .map_or(taken.len() + 1, |(_, place)| place);
        taken.insert(value);
        Number {
            value,
            numbers: Arc::clone(self),
        }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        lock(&self.0)
    }
}

impl Number {
    /// Returns the number itself.
    pub(super) fn value(&self) -> usize {
        self.value
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.numbers.taken().remove(&self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_taken() {
        let numbers = Arc::<Numbers>::default();
        let one = numbers.take();
        let two = numbers.take();
        let three = numbers.take();
        assert_eq!([one.value(), two.value(), three.value()], [1, 2, 3]);
        drop(two);
        drop(one);
        let again = numbers.take();
        assert_eq!(again.value(), 1);
        assert_eq!(numbers.take().value(), 2);
    }
}
