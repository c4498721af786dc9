use std::collections::HashMap;

use super::*;
use crate::{
    Order, Split,
    testing::{check_source, classes, ids, sets},
};

fn small() -> LongDocumentsConfig {
    LongDocumentsConfig { documents: 40, rows: 20, ..Default::default() }
}

#[test]
fn a_document_holds_the_bigram_of_its_class_and_no_other() {
    for (decoys, length) in [(false, 40), (true, 60)] {
        let config =
            LongDocumentsConfig { symbols: 9, length, test_lengths: vec![80], documents: 200, decoys, ..small() };
        holds_its_bigram_alone(&config);
    }
}

fn holds_its_bigram_alone(config: &LongDocumentsConfig) {
    let source = config.open(3).unwrap();
    let batches = sets(&*source);
    // The bigrams, told from the rows: those that every document of a class holds three times.
    let count = |row: &[i32]| {
        let mut counts: HashMap<(i32, i32), usize> = HashMap::new();
        row.windows(2).for_each(|pair| *counts.entry((pair[0], pair[1])).or_default() += 1);
        counts
    };
    let rows: Vec<_> = batches.iter().flat_map(|batch| ids(batch).map(count).zip(classes(batch))).collect();
    let bigram = |class: i32| {
        let of_class = || rows.iter().filter(|(_, c)| **c == class);
        let all: Vec<(i32, i32)> = (0..81)
            .map(|code| (code / 9, code % 9))
            .filter(|pair| of_class().all(|(counts, _)| counts.get(pair) == Some(&3)))
            .collect();
        assert_eq!(all.len(), 1, "class {class}: {all:?}");
        all[0]
    };
    let bigrams: Vec<(i32, i32)> = (0..4).map(bigram).collect();
    for (counts, class) in &rows {
        for (other, pair) in bigrams.iter().enumerate() {
            let expected = if other as i32 == **class { 3 } else { 0 };
            assert_eq!(counts.get(pair).copied().unwrap_or(0), expected);
        }
    }
}

#[test]
fn counts_tell_the_class_unless_there_are_decoys() {
    // Each class by the counts of its own two symbols: the bigrams' draw is the source's.
    for (decoys, lowest, highest) in [(false, 0.65, 0.75), (true, 0.2, 0.3)] {
        let config = LongDocumentsConfig { rows: 2000, decoys, ..small() };
        let documents = Documents::new(&config, &drawn::stream(5, "long_documents", 0));
        let batch = config.open(5).unwrap().batch(Split::Length(512), &Order::Full, 0);
        let guess = |row: &[i32]| {
            let count = |symbol: usize| row.iter().filter(|&&id| id as usize == symbol).count() as f64;
            // The best guess where the copies raise Poisson counts by 3 each.
            let evidence = |a: f64| if a < 3.0 { -30.0 } else { (a * (a - 1.0) * (a - 2.0)).ln() };
            let score = |&(u, w): &(usize, usize)| evidence(count(u)) + evidence(count(w));
            let scores: Vec<f64> = documents.bigrams.iter().map(score).collect();
            (0..4).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap() as i32
        };
        let right = ids(&batch).zip(classes(&batch)).filter(|(row, class)| guess(row) == **class).count();
        let accuracy = right as f64 / 2000.0;
        assert!((lowest..highest).contains(&accuracy), "decoys = {decoys}: {accuracy}");
    }
}

#[test]
fn a_batch_depends_on_seed_draw_split_and_step_alone() {
    let source = check_source(|seed, draw| LongDocumentsConfig { draw, ..small() }.open(seed).unwrap());
    assert_eq!(source.lengths, [("val", 512), ("n512", 512), ("n1024", 1024)].map(|(s, n)| (s.into(), n)));
    assert_eq!(source.train_lengths, [512].into());
}

#[test]
fn training_documents_are_a_set_that_ends() {
    let source = small().open(0).unwrap();
    assert_eq!([Split::Train, Split::Val, Split::Test].map(|s| source.len(s)), [Some(40), Some(20), Some(0)]);
    let whole = source.batch(Split::Train, &Order::Full, 0);
    let second = source.batch(Split::Train, &Order::Sequential { size: 15 }, 2);
    assert_eq!(second, whole.gather(&(30..40).collect::<Vec<_>>()));
}

#[test]
fn the_rows_never_change() {
    // Pinned: a change of these numbers changes every recorded run.
    let batch = small().open(2).unwrap().batch(Split::Train, &Order::Full, 0);
    assert_eq!((ids(&batch).next().unwrap()[..8].to_vec(), classes(&batch)[0]), (vec![7, 1, 8, 34, 53, 29, 1, 10], 2));
}

#[test]
fn impossible_parameters_are_refused() {
    let message = |config: LongDocumentsConfig| config.check().unwrap_err().to_string();
    assert_eq!(
        message(LongDocumentsConfig { symbols: 7, ..small() }),
        "symbols: symbols = 7 are too few for 4 bigrams without a common symbol; expected at least 8"
    );
    assert_eq!(
        message(LongDocumentsConfig { length: 5, ..small() }),
        "length: 5 tokens are too few: copies = 3 bigrams take two tokens each; expected at least 6"
    );
    assert_eq!(
        message(LongDocumentsConfig { length: 47, decoys: true, ..small() }),
        "length: 47 tokens are too few: copies = 3 of 4 bigrams, most of them torn apart, should be half of them; expected \
         at least 48"
    );
    assert_eq!(
        message(LongDocumentsConfig { copies: 0, ..small() }),
        "copies: copies = 0 tells nothing of the class; expected at least 1"
    );
    assert_eq!(
        message(LongDocumentsConfig { classes: 1, ..small() }),
        "classes: classes = 1 leaves nothing to tell apart; expected at least 2"
    );
    assert_eq!(
        message(LongDocumentsConfig { documents: 1 << 30, ..small() }),
        "documents: documents = 1073741824 of 512 tokens are more than fit; expected at most 524288"
    );
    assert!(message(LongDocumentsConfig { test_lengths: vec![512, 512], ..small() }).contains("stands twice"));
    assert!(message(LongDocumentsConfig { rows: 1 << 30, ..small() }).contains("of 1024 tokens are more than fit"));
}
