//! Outputs of another state of the course than that of the range.

use super::repository::Repository;
use super::{A, B, affected, begun, course, deck, tells};
use crate::support::Course;

/// Asserts that everything of the course is up to date.
fn assert_complete(course: &Course) {
    let check = course.build(&["--fast", "--check"]);
    assert_eq!(check.code, 0, "{}", check.stdout);
}

#[test]
fn no_output_is_removed_whose_deck_moved_outside_of_the_range() {
    let course = course();
    let repository = Repository::of(&course);
    assert_eq!(course.build(&["--fast"]).code, 0);
    let before = course.outputs().len();
    // A commit that renumbers the decks after a new one, and is not in the range.
    let new = "slides/m/topic_010_a/slides_0.py";
    course.write(new, deck("Zero", "Prose"));
    repository.commit("another deck");
    course.edit(B, "Prose", "Other");
    let check = course.build(&["--fast", "--check", "--affected-by", "HEAD"]);
    assert!(check.stdout.contains(&format!("\"source\":\"{A}\"")));
    let ran = affected(&course, &["HEAD"]);
    assert!(
        tells(&ran, "that may concern every output"),
        "{}",
        ran.stdout
    );
    assert!(course.outputs().len() > before);
    assert_complete(&course);
    // The range that has the commit says why these outputs go.
    course.remove(new);
    let ran = affected(&course, &["HEAD"]);
    assert!(!tells(&ran, "every output"), "{}", ran.stdout);
    assert_complete(&course);
}

#[test]
fn no_output_is_removed_because_of_a_deck_that_git_never_knew() {
    let course = course();
    let _repository = Repository::of(&course);
    assert_eq!(course.build(&["--fast"]).code, 0);
    let before = course.outputs();
    let new = "slides/m/topic_010_a/slides_0.py";
    course.write(new, deck("Zero", "Prose"));
    assert_eq!(course.build(&["--fast"]).code, 0);
    course.remove(new);
    let ran = affected(&course, &["HEAD"]);
    assert!(
        tells(&ran, "that may concern every output"),
        "{}",
        ran.stdout
    );
    assert_eq!(course.outputs(), before);
    assert_complete(&course);
}

#[test]
fn an_output_goes_only_if_its_deck_is_built_in_its_new_place() {
    let course = course();
    let repository = Repository::of(&course);
    // Decks with one title, so that one takes the name of the other.
    let third = "slides/m/topic_020_b/slides_c.py";
    for path in [A, B, third] {
        course.write(path, deck("Same", path));
    }
    repository.commit("as it is now");
    // Built without the first deck: its name is that of the second deck there.
    let text = course.read(A);
    course.remove(A);
    assert_eq!(course.build(&["--fast"]).code, 0);
    // The first name is gone and was planned at the commit, so the range seems to say why.
    course.write(A, text.replace("\"Same\"", "\"New\""));
    let ran = affected(&course, &["HEAD"]);
    assert!(begun(&ran).contains(&B), "{}", ran.stdout);
    assert_complete(&course);
}
