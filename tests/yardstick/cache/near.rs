//! How near-duplicates are found: the method in use and those that were passed over, on the committed pairs
//! (tests/fixtures/near_duplicates). Thresholds are tuned on one half; what stands in the table is of the other.

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

/// A method may be wrong this often at most; its threshold is the lowest that keeps to it while it is tuned.
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

/// The table.
pub(crate) fn measure() -> String {
    let (tuning, held_out) = (Half::read("tuning"), Half::read("held_out"));
    let mut table = String::from(
        "| method | threshold | false hits | share, with its upper bound | found | with the hard ones | µs a look-up | bytes an entry |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for method in methods() {
        let threshold = tuned(&method, &tuning);
        let is_hit = |pair: &&Pair| (method.likeness)(pair) >= threshold;
        let (wrong, different) = (held_out.different.iter().filter(is_hit).count(), held_out.different.len());
        let share_of = |pairs: &[&Pair]| {
            100.0 * pairs.iter().copied().filter(|pair| is_hit(pair)).count() as f64 / pairs.len() as f64
        };
        let all: Vec<&Pair> = held_out.same.iter().collect();
        let plain: Vec<&Pair> = held_out.same.iter().filter(|pair| !pair.is_hard()).collect();
        let _ = writeln!(
            table,
            "| {} | {threshold:.3} | {wrong} of {different} | {:.2} % ≤ {:.2} % | {:.0} % | {:.0} % | {:.1} | {} |",
            method.name,
            100.0 * wrong as f64 / different as f64,
            100.0 * wilson_upper(wrong, different),
            share_of(&plain),
            share_of(&all),
            method.cost.look_up_us,
            method.cost.entry_bytes,
        );
    }
    table
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

/// The lowest threshold at which the method is wrong seldom enough, or above all that it was wrong about.
fn tuned(method: &Method, half: &Half) -> f64 {
    let mut wrong: Vec<f64> = half.different.iter().map(|pair| (method.likeness)(pair)).collect();
    wrong.sort_by(|one, other| other.total_cmp(one));
    let allowed = (half.different.len() as f64 * FALSE_SHARE_MAX) as usize;
    // Just above the first that would be one too many.
    wrong.get(allowed).map_or(0.0, |likeness| likeness + 1e-6)
}

/// The upper bound of Wilson's interval for a share of `count` in `all`.
fn wilson_upper(count: usize, all: usize) -> f64 {
    let (share, all, square) = (count as f64 / all as f64, all as f64, WILSON_Z * WILSON_Z);
    let middle = share + square / (2.0 * all);
    let spread = WILSON_Z * (share * (1.0 - share) / all + square / (4.0 * all * all)).sqrt();
    (middle + spread) / (1.0 + square / all)
}
