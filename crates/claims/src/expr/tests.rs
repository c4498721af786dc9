use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> String {
    text.parse::<Comparison>().unwrap_or_else(|error| panic!("{error}")).to_string()
}

#[track_caller]
fn refused(text: &str, column: usize, message: &str) {
    let error = text.parse::<Comparison>().unwrap_err();
    assert_eq!((error.column(), error.message.as_str()), (column, message), "{error}");
}

#[test]
fn canonical_text() {
    for text in [
        "first(A3.train_accuracy >= 0.99) <= 400",
        "at(A1.test_accuracy, first(B.train_loss < 0.5)) - 1 > 0",
        "max(P32.test_accuracy, 0 to first(P32.zero_loss > 0.5)) <= 0.65",
        "first(A.x > 0.5, 100 to 200) == never",
        "never == end(A.x)",
        "a.x[layers.0.weight] > 0".replace("a.x[layers.0.weight]", "end(a.w_norm[layers.0.weight])").as_str(),
        "1 < end(A.x) <= 3 == end(B.x)",
        "1 - (2 - 3) - 4 == 1 * (2 + 3) / (4 / 5)",
        "-(1 + 2) * -3 == - -4".replace("- -4", "--4").as_str(),
        "abs(least(end(A.x), 1, 2)) <= margin",
        "mean(A.x) > slowest_rise(A.x, 1 to 2)",
    ] {
        assert_eq!(parsed(text), text);
    }
    assert_eq!(parsed("  ((end( A.x )))>=(1e-2)+((2)*3) "), "end(A.x) >= 0.01 + 2 * 3");
    assert_eq!(parsed("1-2-3 == (1-2)-3"), "1 - 2 - 3 == 1 - 2 - 3");
}

#[test]
fn operators_bind_as_in_arithmetic() {
    let Comparison { first, .. } = "1 + 2 * -3 - 4 == 0".parse().unwrap();
    let number = |x| Box::new(Expr::Number(x));
    let product = Expr::Binary(Operator::Multiply, number(2.0), Box::new(Expr::Negate(number(3.0))));
    let sum = Expr::Binary(Operator::Add, number(1.0), Box::new(product));
    assert_eq!(first, Expr::Binary(Operator::Subtract, Box::new(sum), number(4.0)));
}

#[test]
fn errors_name_place_and_remedy() {
    refused(
        "frist(A1.x >= 1) <= 2",
        1,
        "unknown function \"frist\"; did you mean \"first\"? known: abs, at, end, first, greatest, least, max, mean, \
         min, slowest_rise",
    );
    refused("at(A1.x, 5)", 12, "expected a comparison (<=, <, >=, > or ==), found the end of the text");
    refused("at(A1.x 5) > 1", 9, "expected \",\" and a step, as in at(A1.x, 500), found the number 5");
    refused("at(A1.x, 5 > 1", 12, "expected \")\" to close at, found \">\"");
    refused("first(A1.x) > 1", 11, "first needs a comparison, as in first(A1.x >= 0.95)");
    refused(
        "max(1, 2) > 1",
        5,
        "max reads a metric, as in A1.test_accuracy, found the number 1; the larger of two numbers is greatest(x, y)",
    );
    refused("least(1) > 1", 8, "least compares two numbers or more");
    refused("end(A1.x) > 95%", 15, "'%' has no meaning here; accuracies and shares are fractions: 95 % is 0.95");
    refused("end(A1.x) = 1", 11, "'=' has no meaning here; equality is written ==");
    refused("end(A1.) > 1", 5, "the metric's name is missing; expected for example A1.test_accuracy");
    refused("end(A1.w[x) > 1", 9, "this bracket is never closed");
    refused("end(A1.x) > 1 2", 15, "expected the end of the text, found the number 2");
    refused("max(A1.x, 1, 2) > 1", 12, "expected \"to\" between the first and the last step, found \",\"");
    refused("end(A1.x) > 1e999", 13, "1e999 is no number that fits 64 bits");
    refused("end(A1.x) > .5", 13, "'.' has no meaning here; a number starts with a digit: 0.5");
    refused("end(A1.x) < never", 11, "nothing is below or above `never`; it can only be compared with ==");
    refused("1 + never == 2", 5, "`never` must be a whole side of ==, as in first(…) == never");
    refused(
        "A1.x > 1",
        1,
        "a metric is a curve, not a number; read it with an event: at(A1.x, step), end(A1.x), max(A1.x)",
    );
    refused("", 1, "expected a number, an event or \"(\", found the end of the text");
    refused(&format!("{}1 > 0", "(".repeat(200)), 65, "nested deeper than 64 levels");
    refused(&format!("{}1 > 0", "-".repeat(200)), 65, "nested deeper than 64 levels");
    refused(&"1+".repeat(2000), 1, "the text has 4000 bytes; at most 2000 are read");
}

#[test]
fn an_error_underlines_the_place_in_characters() {
    let error = "end(A.ü) > 1".parse::<Comparison>().unwrap_err();
    assert_eq!(
        error.to_string(),
        concat!(
            "column 5: the metric's name is missing; expected for example A.test_accuracy\n",
            "  end(A.ü) > 1\n",
            "      ^^"
        )
    );
    let error = "1 > end(B.x) > ü".parse::<Comparison>().unwrap_err();
    assert!(error.to_string().ends_with("\n  1 > end(B.x) > ü\n                 ^"), "{error}");
}

#[test]
fn measured_side_and_threshold() {
    let parts = |text: &str| {
        let comparison: Comparison = text.parse().unwrap();
        (comparison.measured(), comparison.threshold())
    };
    assert_eq!(parts("end(A.x) - 1 >= 0.5"), ("end(A.x) - 1".into(), ">= 0.5".into()));
    assert_eq!(parts("2 <= end(A.x) <= 4"), ("end(A.x)".into(), "2 <= … <= 4".into()));
    assert_eq!(parts("end(A.x) < end(B.x) < 9"), ("end(A.x)".into(), "< end(B.x) < 9".into()));
    assert_eq!(parts("never == first(A.x > 1)"), ("first(A.x > 1)".into(), "never == …".into()));
}

#[test]
fn readings_are_found_at_every_depth() {
    let comparison: Comparison =
        "at(B.x, first(A.y >= end(C.z))) < greatest(-mean(A.w, 0 to end(D.n)), abs(1 * end(A.y)))".parse().unwrap();
    let metrics: Vec<String> = comparison.metrics().into_iter().map(Metric::to_string).collect();
    assert_eq!(metrics, ["A.w", "A.y", "B.x", "C.z", "D.n"]);
    assert_eq!(comparison.runs(), ["A", "B", "C", "D"]);
    assert!(!comparison.uses_margin());
    assert!("end(A.x) < 2 * abs(-margin)".parse::<Comparison>().unwrap().uses_margin());
}

fn metric() -> impl Strategy<Value = Metric> {
    ("[A-Za-z][A-Za-z0-9_]{0,4}", "[a-z][a-z0-9_]{0,6}(\\[[a-z0-9. ]{1,6}\\])?")
        .prop_map(|(run, name)| Metric { run, name })
}

fn relation() -> impl Strategy<Value = Relation> {
    use Relation::*;
    prop::sample::select(vec![AtMost, Below, AtLeast, Above, Equal])
}

fn expr() -> impl Strategy<Value = Expr> {
    let number = prop_oneof![Just(0.0), 0.0..1e4, prop::num::f64::POSITIVE | prop::num::f64::SUBNORMAL]
        .prop_map(|x: f64| Expr::Number(x.abs()));
    let leaf = prop_oneof![number, Just(Expr::Margin), metric().prop_map(|metric| Expr::Event(Event::End { metric })),];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let steps = prop::option::of((boxed.clone(), boxed.clone()).prop_map(|(from, to)| Steps { from, to }));
        let operator =
            prop::sample::select(vec![Operator::Add, Operator::Subtract, Operator::Multiply, Operator::Divide]);
        let summary = prop::sample::select(vec![Summary::Max, Summary::Min, Summary::Mean, Summary::SlowestRise]);
        prop_oneof![
            boxed.clone().prop_map(Expr::Negate),
            boxed.clone().prop_map(Expr::Abs),
            (operator, boxed.clone(), boxed.clone()).prop_map(|(op, left, right)| Expr::Binary(op, left, right)),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Least),
            prop::collection::vec(inner, 2..4).prop_map(Expr::Greatest),
            (metric(), boxed.clone()).prop_map(|(metric, step)| Expr::Event(Event::At { metric, step })),
            (metric(), relation(), boxed, steps.clone()).prop_map(|(metric, relation, bound, steps)| {
                Expr::Event(Event::First { metric, relation, bound, steps })
            }),
            (summary, metric(), steps).prop_map(|(summary, metric, steps)| Expr::Event(Event::Over {
                summary,
                metric,
                steps
            })),
        ]
    })
}

fn comparison() -> impl Strategy<Value = Comparison> {
    let chain = (expr(), prop::collection::vec((relation(), expr()), 1..3))
        .prop_map(|(first, links)| Comparison { first, links });
    let never = expr().prop_map(|first| Comparison { first, links: vec![(Relation::Equal, Expr::Never)] });
    prop_oneof![4 => chain, 1 => never]
}

proptest! {
    #[test]
    fn reading_what_was_printed_gives_it_back(original in comparison()) {
        let text = original.to_string();
        prop_assume!(text.len() <= 2000);
        let again: Comparison = text.parse().map_err(|error: ExprError| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&again, &original);
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,80}") {
        if let Err(error) = text.parse::<Comparison>() {
            let _ = error.to_string();
        }
    }

    #[test]
    fn no_mixture_of_its_own_tokens_makes_the_parser_panic(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "first", "at", "max", "least", "never", "margin", "to", "A.x", "A.x[0]", "(", ")", ",", "<=", "==", ">", "-",
            "+", "*", "/", "1", "0.5", "1e9", " ", "[", ".", "é",
        ]), 0..40)
    ) {
        if let Err(error) = tokens.concat().parse::<Comparison>() {
            prop_assert!(error.span.end <= error.source_text.len());
            let _ = error.to_string();
        }
    }
}
