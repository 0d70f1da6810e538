//! The house rules, each held by one test on the real tree.

use dsbus_tidy::tree::{Tree, root};
use dsbus_tidy::{documents, generated, manifests, source};

macro_rules! rules {
    ($($test:ident: $rule:path;)*) => {
        $(#[test]
        fn $test() {
            let tree = Tree::read(&root()).expect("the repository can be read");
            let problems = $rule(&tree);
            assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
        })*
    };
}

rules! {
    imports_point_down: manifests::directions;
    crates_from_elsewhere_stay_in_their_rooms: manifests::outside_crates;
    lints_and_versions_are_inherited: manifests::inheritance;
    published_crates_ask_for_published_ones: manifests::published;
    python_has_the_same_version: manifests::python;
    files_are_short: source::lengths;
    names_on_the_bus_are_in_one_file: source::names_on_the_bus;
    one_file_prints: source::printing;
    nothing_is_left_to_do_later: source::leftovers;
    unsafe_code_stays_in_its_rooms: source::unsafe_code;
    tests_wait_for_conditions: source::sleeps;
    types_have_our_words: source::words;
    no_path_of_a_machine: source::paths;
    documents_are_short: documents::lengths;
    the_architecture_is_complete: documents::architecture;
    the_changelog_has_a_place_for_changes: documents::changelog;
    the_two_commands_are_told: documents::commands;
    links_lead_somewhere: documents::links;
    generated_documents_are_up_to_date: generated::up_to_date;
}
