// Picking the greatest items of a list by one workgroup. An item is a logit's key (0: not to be picked), which orders as the
// logit does, and an id counted from above, so that the lower id is the greater among equals. The boundary between what is picked
// and what is not is found digit by digit, from counts of the items that share all digits so far (a radix selection).
const INVOCATIONS: u32 = 256u;
const ID_CEILING: u32 = 0xffffffu;

var<workgroup> counts: array<atomic<u32>, 256>;
var<workgroup> band_counts: array<u32, 16>;
var<workgroup> picked: array<vec2<u32>, PICKED_MAX>;
var<workgroup> picked_count: atomic<u32>;

fn key_of(bits: u32) -> u32 {
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn bits_of(key: u32) -> u32 {
    return select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u);
}

fn is_before(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x > b.x || (a.x == b.x && a.y > b.y);
}

// Puts the `wanted` greatest of the items into `picked`, in any order; how many there were lies in `picked_count`.
fn pick(lane: u32, items: u32, wanted: u32) {
    var boundary = vec2(0u);
    var known = vec2(0u);
    var remaining = wanted;
    // Four digits of the key, then three of the id.
    for (var digit = 0u; digit < 7u; digit++) {
        let of_key = digit < 4u;
        let shift = select(48u, 24u, of_key) - 8u * digit;
        workgroupBarrier();
        atomicStore(&counts[lane], 0u);
        workgroupBarrier();
        for (var index = lane; index < items; index += INVOCATIONS) {
            let item = item_at(index);
            if item.x != 0u && all((item & known) == boundary) {
                atomicAdd(&counts[(select(item.y, item.x, of_key) >> shift) & 255u], 1u);
            }
        }
        workgroupBarrier();
        if lane < 16u {
            var total = 0u;
            for (var bin = lane * 16u; bin < lane * 16u + 16u; bin++) {
                total += atomicLoad(&counts[bin]);
            }
            band_counts[lane] = total;
        }
        workgroupBarrier();
        var above = 0u;
        var band = 15u;
        while band > 0u && above + band_counts[band] < remaining {
            above += band_counts[band];
            band--;
        }
        var bin = band * 16u + 15u;
        while bin > band * 16u && above + atomicLoad(&counts[bin]) < remaining {
            above += atomicLoad(&counts[bin]);
            bin--;
        }
        remaining -= min(above, remaining);
        let place = select(vec2(0u, 1u), vec2(1u, 0u), of_key) << vec2(shift);
        boundary |= place * bin;
        known |= place * 255u;
        // The same for all: none of it depends on the invocation.
        if atomicLoad(&counts[bin]) <= remaining {
            break;
        }
    }
    if lane == 0u {
        atomicStore(&picked_count, 0u);
    }
    workgroupBarrier();
    for (var index = lane; index < items; index += INVOCATIONS) {
        let item = item_at(index);
        if item.x != 0u && !is_before(boundary, item & known) {
            picked[min(atomicAdd(&picked_count, 1u), PICKED_MAX - 1u)] = item;
        }
    }
    workgroupBarrier();
}
