//! How near-duplicates are found: the method in use and those that were passed over, on the committed pairs
//! (tests/fixtures/near_duplicates). Thresholds are set on one half; what stands in the table is of the other.

mod embeddings;
mod min_hash;
mod pairs;
mod sim_hash;
mod sketch;
mod speed;

use std::fmt::Write as _;

use lede_origin::captions::near::DescriptionSignature;

use self::pairs::{Half, Pair};
use self::sketch::Sketch;
use self::speed::Cost;

/// A method may be wrong this often at most.
const FALSE_SHARE_MAX: f64 = 0.001;
/// For a confidence of 95 %.
const WILSON_Z: f64 = 1.96;

/// A method's judgement of two texts.
struct Method {
    name: &'static str,
    /// How like they are, to 1.
    likeness: Box<dyn Fn(&Pair) -> f64>,
    cost: Cost,
}

/// The table. A method has a row for each way to set its threshold: as low as it may be and seldom be wrong, and as high as
/// it may be and find as much as the first method does.
pub(crate) fn measure() -> String {
    let (tuning, held_out) = (Half::read("tuning"), Half::read("held_out"));
    let mut table = String::from(
        "| method | threshold | false hits | share, with its upper bound | found | with the hard ones | µs a look-up | bytes an entry |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let mut found_by_first = None;
    for method in methods() {
        let safe = lowest_safe(&method, &tuning);
        let _ = writeln!(table, "{}", row(&method, safe, &held_out));
        let wanted = *found_by_first.get_or_insert_with(|| found(&method, safe, &tuning));
        let as_good = highest_that_finds(&method, wanted, &tuning);
        if as_good < safe {
            let _ = writeln!(table, "{}", row(&method, as_good, &held_out));
        }
    }
    table
}

fn row(method: &Method, threshold: f64, half: &Half) -> String {
    let is_hit = |pair: &&Pair| (method.likeness)(pair) >= threshold;
    let (wrong, different) = (half.different.iter().filter(is_hit).count(), half.different.len());
    let of_all = half.same.iter().filter(is_hit).count() as f64 / half.same.len() as f64;
    let shown = if threshold > 1.0 { "above 1".to_owned() } else { format!("{threshold:.2}") };
    format!(
        "| {} | {shown} | {wrong} of {different} | {:.2} % ≤ {:.2} % | {:.0} % | {:.0} % | {:.1} | {} |",
        method.name,
        100.0 * wrong as f64 / different as f64,
        100.0 * wilson_upper(wrong, different),
        100.0 * found(method, threshold, half),
        100.0 * of_all,
        method.cost.look_up_us,
        method.cost.entry_bytes,
    )
}

/// The share of the pairs that are the same which is found, the hard ones aside.
fn found(method: &Method, threshold: f64, half: &Half) -> f64 {
    let plain: Vec<&Pair> = half.same.iter().filter(|pair| !pair.is_hard()).collect();
    plain.iter().filter(|pair| (method.likeness)(pair) >= threshold).count() as f64 / plain.len() as f64
}

fn methods() -> Vec<Method> {
    let signed = |pair: &Pair| pair.texts.each_ref().map(|text| DescriptionSignature::of(text, &pair.language));
    let by_signature = move |pair: &Pair| {
        let [one, other] = signed(pair);
        f64::from(u8::from(one == other))
    };
    let mut methods = vec![Method {
        name: "signature and guards",
        likeness: Box::new(by_signature),
        cost: speed::of_the_index(),
    }];
    let sketches: [(&str, &str, Box<dyn Sketch>); 3] = [
        ("MinHash (128, words and pairs of words)", "MinHash and guards", Box::new(min_hash::MinHash)),
        ("SimHash (64 bits)", "SimHash and guards", Box::new(sim_hash::SimHash)),
        (
            "static embeddings",
            "static embeddings and guards",
            Box::new(embeddings::Embeddings::of_the_embedded_model()),
        ),
    ];
    for (name, guarded, sketch) in sketches {
        let sketch: std::rc::Rc<dyn Sketch> = sketch.into();
        let cost = speed::of_a_sketch(sketch.as_ref());
        let plain = std::rc::Rc::clone(&sketch);
        methods.push(Method { name, likeness: Box::new(move |pair| plain.likeness(pair)), cost });
        let likeness = move |pair: &Pair| {
            let [one, other] = signed(pair);
            if one.has_equal_guards(&other) { sketch.likeness(pair) } else { 0.0 }
        };
        methods.push(Method { name: guarded, likeness: Box::new(likeness), cost });
    }
    methods
}

/// The lowest threshold at which the method is wrong seldom enough. Above 1, where it finds nothing, if none is.
fn lowest_safe(method: &Method, half: &Half) -> f64 {
    let mut wrong: Vec<f64> = half.different.iter().map(|pair| (method.likeness)(pair)).collect();
    wrong.sort_by(|one, other| other.total_cmp(one));
    let allowed = (half.different.len() as f64 * FALSE_SHARE_MAX) as usize;
    // Just above the first that would be one too many.
    wrong.get(allowed).map_or(0.0, |likeness| likeness + 1e-6)
}

/// The highest threshold at which the method finds this share of the pairs that are the same, the hard ones aside.
fn highest_that_finds(method: &Method, share: f64, half: &Half) -> f64 {
    let plain = half.same.iter().filter(|pair| !pair.is_hard());
    let mut likenesses: Vec<f64> = plain.map(|pair| (method.likeness)(pair)).collect();
    likenesses.sort_by(|one, other| other.total_cmp(one));
    let wanted = (share * likenesses.len() as f64).ceil() as usize;
    likenesses.get(wanted.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// The upper bound of Wilson's interval for a share of `count` in `all`.
fn wilson_upper(count: usize, all: usize) -> f64 {
    let (share, all, square) = (count as f64 / all as f64, all as f64, WILSON_Z * WILSON_Z);
    let middle = share + square / (2.0 * all);
    let spread = WILSON_Z * (share * (1.0 - share) / all + square / (4.0 * all * all)).sqrt();
    (middle + spread) / (1.0 + square / all)
}
