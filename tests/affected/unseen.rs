//! What git does not tell of a range.

use super::repository::Repository;
use super::{affected, course, tells};

#[test]
fn a_range_whose_end_is_not_checked_out_is_told() {
    let course = course();
    let repository = Repository::of(&course);
    repository.commit("second");
    repository.git(&["branch", "same"]);
    let told = |range: &str| tells(&affected(&course, &[range]), "not what is checked out");
    assert!(told("HEAD..HEAD~1"));
    assert!(told("HEAD...HEAD~1"));
    for range in [
        "HEAD~1..HEAD",
        "HEAD~1..same",
        "HEAD~1...",
        "..main",
        "HEAD~1",
    ] {
        assert!(!told(range), "{range}");
    }
}
