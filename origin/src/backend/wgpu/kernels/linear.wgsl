// y = x Wᵀ for a tile of rows of W and entries of x. A lane takes every LANES-th unit of the rows and adds up in four strands.
struct Shape {
    rows: u32,          // Of this part of the matrix.
    units: u32,         // In a row.
    vectors: u32,       // Of four numbers in an entry of x.
    first_row: u32,     // Of this part, in the whole matrix.
    stride: u32,        // From an entry of y to the next.
}

@group(0) @binding(0) var<uniform> count: vec4<u32>;
@group(0) @binding(1) var<uniform> shape: Shape;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

const SUMS: u32 = ROWS * ENTRIES;

// This lane's sums for each row of the tile and, within it, each entry. Rows and entries beyond the last repeat the last.
fn lane_sums(first_row: u32, first_entry: u32, lane: u32) -> array<f32, SUMS> {
    var strands: array<vec4<f32>, SUMS>;
    for (var unit = lane; unit < shape.units; unit += LANES) {
        var words: array<vec4<u32>, ROWS>;
        var fitted: array<vec2<f32>, ROWS>;
        for (var row = 0u; row < ROWS; row++) {
            let place = min(first_row + row, shape.rows - 1u) * shape.units + unit;
            words[row] = weights[place];
            fitted[row] = unit_scale(place);
        }
        var parts: array<vec4<f32>, SUMS>;
        if !SCALED {
            parts = strands;
        }
        for (var index = 0u; index < UNIT_VECTORS; index++) {
            let place = unit * UNIT_VECTORS + index;
            var levels: array<vec4<f32>, ROWS>;
            for (var row = 0u; row < ROWS; row++) {
                levels[row] = unit_weights(words[row], index) - fitted[row].y;
            }
            for (var entry = 0u; entry < ENTRIES; entry++) {
                var numbers = x[min(first_entry + entry, count.x - 1u) * shape.vectors + place];
                if PADDED && place >= shape.vectors {
                    numbers = vec4(0.0);
                }
                for (var row = 0u; row < ROWS; row++) {
                    let sum = row * ENTRIES + entry;
                    parts[sum] = fma(levels[row], numbers, parts[sum]);
                }
            }
        }
        for (var sum = 0u; sum < SUMS; sum++) {
            if SCALED {
                strands[sum] = fma(vec4(fitted[sum / ENTRIES].x), parts[sum], strands[sum]);
            } else {
                strands[sum] = parts[sum];
            }
        }
    }
    var sums: array<f32, SUMS>;
    for (var sum = 0u; sum < SUMS; sum++) {
        let strand = strands[sum];
        sums[sum] = (strand.x + strand.y) + (strand.z + strand.w);
    }
    return sums;
}

// Writes the output of row `first_row + row` for an entry; for SwiGLU `row` is even, and the next row's sum comes with it.
fn write(row: u32, entry: u32, sum: f32, next: f32) {
    if row >= shape.rows || entry >= count.x {
        return;
    }
    let output = shape.first_row + row;
    let total = sum + bias_of(output);
    if OUTPUT == SWIGLU {
        let up = next + bias_of(output + 1u);
        y[entry * shape.stride + output / 2u] = total / (1.0 + exp(-total)) * up;
    } else if OUTPUT == ADD {
        y[entry * shape.stride + output] += total;
    } else {
        y[entry * shape.stride + output] = total;
    }
}

fn write_all(first_row: u32, first_entry: u32, sums: array<f32, SUMS>) {
    var all = sums;
    for (var row = 0u; row < ROWS; row += ROWS_STEP) {
        for (var entry = 0u; entry < ENTRIES; entry++) {
            let sum = row * ENTRIES + entry;
            write(first_row + row, first_entry + entry, all[sum], all[sum + (ROWS_STEP - 1u) * ENTRIES]);
        }
    }
}
