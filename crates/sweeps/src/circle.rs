//! Variants that need each other.

/// The names of a circle of needs, if there is one: each needs the next, the last the first. Needs that name nobody in
/// the list are passed over.
pub fn circle<'a>(needs: &[(&'a str, Vec<&'a str>)]) -> Option<Vec<&'a str>> {
    let of = |name: &str| needs.iter().find(|(other, _)| *other == name).map(|(_, needs)| needs.as_slice());
    let mut free: Vec<&str> = Vec::new();
    loop {
        let before = free.len();
        for (name, needs) in needs {
            let satisfied = |need: &&str| of(need).is_none() || free.contains(need);
            if !free.contains(name) && needs.iter().all(satisfied) {
                free.push(name);
            }
        }
        if free.len() == before {
            break;
        }
    }
    let stuck = |name: &&&str| of(name).is_some() && !free.contains(*name);
    let mut path: Vec<&str> = vec![needs.iter().map(|(name, _)| *name).find(|name| !free.contains(name))?];
    loop {
        // What is not free needs something else that is not free, so the walk ends where it has been before.
        let next = of(path.last()?)?.iter().find(stuck)?;
        if let Some(start) = path.iter().position(|name| name == next) {
            return Some(path.split_off(start));
        }
        path.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::circle;

    #[test]
    fn a_circle_is_found_behind_what_leads_to_it() {
        let chain = [("a", vec!["b", "elsewhere"]), ("b", vec!["c"]), ("c", vec![])];
        assert_eq!(circle(&chain), None);
        let bound = [("z", vec!["a"]), ("a", vec!["b"]), ("b", vec!["free", "a"]), ("free", vec![])];
        assert_eq!(circle(&bound), Some(vec!["a", "b"]));
        assert_eq!(circle(&[("a", vec!["a"])]), Some(vec!["a"]));
    }
}
