use super::*;
use crate::{
    Order, Split,
    testing::{answers, check_source, ids, sets},
};

fn small() -> BigramBackCopyConfig {
    BigramBackCopyConfig { rows: 20, ..Default::default() }
}

#[test]
fn the_answers_are_the_text_moved_by_one_and_triggers_repeat() {
    let source = small().open(3).unwrap();
    let mut triggers = 0;
    for batch in sets(&*source) {
        for (row, answers) in ids(&batch).zip(answers(&batch)) {
            assert_eq!(row[0], 64);
            assert!((3..64).contains(&answers[0].1), "the first symbol is no trigger");
            assert_eq!(answers.len(), row.len());
            for (i, &(place, class)) in answers.iter().enumerate() {
                assert_eq!(place, i);
                assert!(i + 1 == row.len() || row[i + 1] == class);
                if row[i] < 3 {
                    assert_eq!(class, row[i - 1], "a trigger repeats the symbol before it");
                    assert!(class >= 3, "two triggers follow each other");
                    triggers += 1;
                }
            }
        }
    }
    // Each of three triggers follows with at least 0.05 / 1.15.
    assert!(triggers > 2000, "{triggers}");
}

#[test]
fn symbols_follow_by_the_rows_they_were_given() {
    // Few symbols and long texts, so that every pair is seen often.
    let config = BigramBackCopyConfig {
        symbols: 5,
        triggers: 2,
        concentration: 0.5,
        test_lengths: vec![512],
        rows: 200,
        ..Default::default()
    };
    let language = Language::new(&config, &drawn::stream(6, "bigram_back_copy", 0));
    let source = config.open(6).unwrap();
    let batch = source.batch(Split::Length(512), &Order::Full, 0);
    let mut counts = [[0.0; 5]; 5];
    for (row, answers) in ids(&batch).zip(answers(&batch)) {
        for (&id, (_, class)) in row.iter().zip(answers).skip(1) {
            counts[id as usize][class as usize] += 1.0;
        }
    }
    for (symbol, (row, counts)) in language.cumulative.iter().zip(counts).enumerate().skip(2) {
        assert!((row[4] - 1.0).abs() < 1e-12);
        let total: f64 = counts.iter().sum();
        for next in 0..5 {
            let p = row[next] - if next == 0 { 0.0 } else { row[next - 1] };
            assert!(next >= 2 || p >= 0.05 / 1.1 - 1e-12, "the boost of trigger {next} is missing: {p}");
            let error = (p * (1.0 - p) / total).sqrt();
            let found = counts[next] / total;
            assert!((found - p).abs() <= 5.0 * error + 1e-12, "{symbol} {next}: {found}, expected {p}");
        }
    }
}

#[test]
fn groups_are_the_answers_at_triggers_and_at_other_symbols() {
    let source = small().open(1).unwrap();
    for set in source.eval_sets() {
        let batch = source.batch(set, &Order::Full, 0);
        let tokens: Vec<i32> = ids(&batch).flatten().copied().collect();
        let [back_copy, bigram] = source.groups(set) else { panic!("two groups") };
        assert_eq!((back_copy.name.as_str(), bigram.name.as_str()), ("back_copy", "bigram"));
        assert!(back_copy.answers.iter().all(|&answer| (0..3).contains(&tokens[answer])));
        assert!(bigram.answers.iter().all(|&answer| (3..64).contains(&tokens[answer])));
        assert_eq!(back_copy.answers.len() + bigram.answers.len(), tokens.len() - batch.rows);
    }
    assert!(source.groups(Split::Train).is_empty());
}

#[test]
fn a_batch_depends_on_seed_draw_split_and_step_alone() {
    let source = check_source(|seed, draw| BigramBackCopyConfig { draw, ..small() }.open(seed).unwrap());
    let lengths = [("val", 64), ("n64", 64), ("n128", 128), ("n256", 256), ("n512", 512)];
    assert_eq!(source.lengths, lengths.map(|(s, n)| (s.into(), n)));
    assert_eq!(source.train_lengths, [64].into());
    let shortest = BigramBackCopyConfig { train_lengths: [1, 2], test_lengths: vec![], ..small() };
    assert!(sets(&*shortest.open(0).unwrap()).iter().all(|batch| ids(batch).all(|row| row[0] == 64)));
}

#[test]
fn the_rows_never_change() {
    // Pinned: a change of these numbers changes every recorded run.
    let batch = sets(&*small().open(2).unwrap()).remove(0);
    assert_eq!(ids(&batch).next().unwrap()[..8], [64, 63, 59, 1, 59, 1, 59, 32]);
}

#[test]
fn impossible_parameters_are_refused() {
    let message = |config: BigramBackCopyConfig| config.check().unwrap_err().to_string();
    assert_eq!(
        message(BigramBackCopyConfig { triggers: 64, ..small() }),
        "triggers: triggers = 64 of 64 symbols; expected at least 1, and fewer than the symbols"
    );
    assert_eq!(
        message(BigramBackCopyConfig { concentration: 0.0, ..small() }),
        "concentration: concentration = 0 is out of range; expected a number above 0"
    );
    assert_eq!(
        message(BigramBackCopyConfig { boost: -0.1, ..small() }),
        "boost: boost = -0.1 is out of range; expected a number of at least 0"
    );
    assert!(message(BigramBackCopyConfig { train_lengths: [65, 64], ..small() }).contains("most tokens of a row"));
    assert!(message(BigramBackCopyConfig { rows: 1 << 30, ..small() }).contains("of 512 tokens are more than fit"));
}
