//! What does not fit is refused, with the reason.
use serde_json::json;

use super::*;

#[test]
fn illegal_slots_say_what_to_do() {
    for (slots, causal, expected) in [
        (
            json!({ "n_heads": 4 }),
            true,
            "n_heads: d_model = 14 is not a multiple of n_heads = 4; try d_model = 12 or 16",
        ),
        (
            json!({ "n_heads": 2, "kv_heads": 3 }),
            true,
            "kv_heads: 2 query heads do not share 3 key heads evenly; try 1, 2",
        ),
        (json!({ "n_heads": 2, "d_head": 0 }), true, "d_head: d_head = 0; expected a whole number of at least 1"),
        (json!({ "n_heads": 2, "scale": -1.0 }), true, "scale: expected a finite number above 0"),
        (
            json!({ "n_heads": 2, "position": "learned" }),
            true,
            "position: \"learned\" acts on token vectors; write positions = \"learned\" in [model]",
        ),
        (
            json!({ "n_heads": 2, "position": "rope" }),
            true,
            "position.fraction: channels turn in pairs, but a head has 7; choose an even width, or a fraction below 1",
        ),
        (
            json!({ "n_heads": 2, "pattern": "full" }),
            true,
            "pattern: \"full\" shows a token what it is to predict; this network takes \"causal\" or \"window\"",
        ),
    ] {
        let error = read(slots.clone()).check(fit(causal)).unwrap_err().to_string();
        assert_eq!(error, format!("model.{expected}"), "{slots}");
    }
}
