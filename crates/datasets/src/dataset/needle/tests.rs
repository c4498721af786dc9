use super::*;
use crate::{
    Order, Split,
    testing::{check_source, classes, ids, sets},
};

fn small() -> NeedleConfig {
    NeedleConfig { rows: 60, ..Default::default() }
}

fn named() -> NeedleConfig {
    NeedleConfig { names: 8, train_lengths: [18, 48], ..small() }
}

#[test]
fn the_class_is_the_kind_of_the_needle() {
    for batch in sets(&*small().open(3).unwrap()) {
        for (row, &class) in ids(&batch).zip(classes(&batch)) {
            let (question, haystack) = row.split_last().unwrap();
            let needles: Vec<i32> = haystack.iter().copied().filter(|id| *id >= 32).collect();
            assert_eq!((*question, needles), (48, vec![32 + class]));
            assert!(row[row.len() - 2] < 32, "no needle beside the question");
        }
    }
}

#[test]
fn the_class_is_the_kind_behind_the_asked_name() {
    for batch in sets(&*named().open(3).unwrap()) {
        for (row, &class) in ids(&batch).zip(classes(&batch)) {
            let (question, haystack) = row.split_last().unwrap();
            let mut names: Vec<i32> = haystack.iter().copied().filter(|id| *id >= 48).collect();
            names.sort_unstable();
            assert_eq!(names, (48..56).collect::<Vec<_>>(), "each name stands once");
            assert_eq!(haystack.iter().filter(|id| (32..48).contains(*id)).count(), 8);
            let asked = haystack.iter().position(|id| id == question).unwrap();
            assert_eq!(haystack[asked + 1], 32 + class);
        }
    }
}

#[test]
fn a_batch_depends_on_seed_draw_split_and_step_alone() {
    let source = check_source(|seed, draw| NeedleConfig { draw, ..small() }.open(seed).unwrap());
    assert_eq!(source.lengths, [("val", 48), ("n48", 48), ("n192", 192), ("n768", 768)].map(|(s, n)| (s.into(), n)));
    assert_eq!(source.train_lengths, (16..=48).collect());
    let source = check_source(|seed, draw| NeedleConfig { draw, ..named() }.open(seed).unwrap());
    assert_eq!(source.train_lengths, (18..=48).collect());
}

#[test]
fn the_shortest_rows_are_full_of_needles() {
    let config = NeedleConfig { names: 8, train_lengths: [18, 18], test_lengths: vec![], ..small() };
    let batch = sets(&*config.open(0).unwrap()).remove(0);
    assert!(ids(&batch).all(|row| row[..16].iter().all(|&id| id >= 32) && row[16] < 32));
    let config = NeedleConfig { train_lengths: [3, 3], test_lengths: vec![], ..small() };
    let batch = sets(&*config.open(0).unwrap()).remove(0);
    assert!(ids(&batch).all(|row| row[0] >= 32 && row[1] < 32 && row[2] == 48));
}

#[test]
fn groups_say_where_the_asked_needle_lies() {
    for config in [small(), named()] {
        let source = config.open(5).unwrap();
        for set in source.eval_sets() {
            let batch = source.batch(set, &Order::Full, 0);
            let place = |row: &[i32]| match config.names {
                0 => row.iter().position(|&id| (32..48).contains(&id)).unwrap(),
                _ => row.iter().position(|id| id == row.last().unwrap()).unwrap(),
            };
            let places: Vec<usize> = ids(&batch).map(place).collect();
            let length = ids(&batch).next().unwrap().len();
            for group in source.groups(set) {
                let expected: Vec<usize> = (0..places.len())
                    .filter(|&row| match group.name.as_str() {
                        "first_half" => places[row] < length / 2,
                        "last_quarter" => places[row] >= length / 4 * 3,
                        "near15" => places[row] + 16 >= length,
                        "far31" => places[row] + 32 < length,
                        other => panic!("{other}"),
                    })
                    .collect();
                assert_eq!(group.answers, expected, "{set} {}", group.name);
            }
        }
        let names: Vec<&str> = source.groups(Split::Length(192)).iter().map(|group| group.name.as_str()).collect();
        assert!(names.starts_with(&["first_half", "last_quarter"]) && names.contains(&"far31"), "{names:?}");
        assert!(source.groups(Split::Train).is_empty());
    }
}

#[test]
fn the_rows_never_change() {
    // Pinned: a change of these numbers changes every recorded run.
    let batch = sets(&*small().open(2).unwrap()).remove(0);
    assert_eq!(ids(&batch).next().unwrap()[..8], [29, 8, 22, 5, 8, 25, 27, 9]);
    let batch = sets(&*named().open(2).unwrap()).remove(0);
    assert_eq!(ids(&batch).next().unwrap()[..8], [51, 46, 22, 5, 8, 53, 45, 9]);
}

#[test]
fn impossible_parameters_are_refused() {
    let message = |config: NeedleConfig| config.check().unwrap_err().to_string();
    assert_eq!(
        message(NeedleConfig { names: 8, ..small() }),
        "train_lengths: 16 tokens are too few: names = 8 hides as many needles of two tokens, before a filler and the \
         question; expected at least 18"
    );
    assert_eq!(
        message(NeedleConfig { test_lengths: vec![2], ..small() }),
        "test_lengths: 2 tokens are too few: a row holds a needle, a filler and the question; expected at least 3"
    );
    assert_eq!(
        message(NeedleConfig { kinds: 1, ..small() }),
        "kinds: kinds = 1 leaves nothing to find; expected at least 2"
    );
    assert_eq!(
        message(NeedleConfig { symbols: 0, ..small() }),
        "symbols: symbols = 0 makes no haystack; expected at least 1"
    );
    assert!(message(NeedleConfig { names: usize::MAX, ..small() }).contains("too few"));
    assert!(message(NeedleConfig { rows: 1 << 30, ..small() }).contains("of 768 tokens are more than fit"));
}
