// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package chart

import (
	"math"
	"slices"
)

// A Scale says how values of an axis are spread and written.
type Scale struct {
	Log    bool
	Format func(float64) string
	Ticks  []float64 // nil for the chart's choice
	Binary bool      // ticks are KiB, or powers of two on a logarithmic axis
}

// An axis maps values from low to high to px.
type axis struct {
	Scale
	low, high float64
	from, to  float64
}

func (a *axis) at(v float64) float64 {
	share := 0.0
	if a.Log {
		share = math.Log(v/a.low) / math.Log(a.high/a.low)
	} else {
		share = (v - a.low) / (a.high - a.low)
	}
	return a.from + min(max(share, 0), 1)*(a.to-a.from)
}

// exactly makes the axis hold the values and no more.
func (a *axis) exactly(values []float64) {
	if len(values) > 0 {
		a.low, a.high = slices.Min(values), slices.Max(values)
	}
	if a.low == a.high {
		a.high = a.low + 1
	}
}

// around makes the axis hold the values, with round ends.
func (a *axis) around(values []float64) {
	if len(values) == 0 {
		values = []float64{1}
	}
	a.low, a.high = slices.Min(values), slices.Max(values)
	if a.Log {
		a.low, a.high = a.below(a.low), a.above(a.high)
		if a.low == a.high {
			a.low, a.high = a.below(a.low*0.99), a.above(a.high*1.01)
		}
		return
	}
	a.low = min(a.low, 0)
	if a.high <= a.low {
		a.high = a.low + 1
	}
	step := a.step()
	a.high = math.Ceil(a.high/step) * step
}

// mostTicks is how many ticks a linear axis has.
const mostTicks = 6

// step is the distance of the ticks of a linear axis: 1, 2 or 5 times a power of ten.
func (a *axis) step() float64 {
	unit := 1.0
	if a.Binary {
		unit = 1 << 10
	}
	return roundUp((a.high-a.low)/unit/mostTicks) * unit
}

// above and below are the next ends of a logarithmic axis.
func (a *axis) above(v float64) float64 {
	if a.Binary {
		return math.Exp2(math.Ceil(math.Log2(v)))
	}
	return roundUp(v)
}

func (a *axis) below(v float64) float64 {
	if a.Binary {
		return math.Exp2(math.Floor(math.Log2(v)))
	}
	return roundDown(v)
}

// ticks are where the axis is labelled. At most one for every gap px.
func (a *axis) ticks(gap float64) []float64 {
	all := a.Ticks
	if all == nil && a.Log {
		for v := a.low; v <= a.high*1.0001; v = a.above(v * 1.01) {
			all = append(all, v)
		}
	} else if all == nil {
		for i := 0; ; i++ {
			v := a.low + float64(i)*a.step()
			if v > a.high*1.0001 {
				break
			}
			all = append(all, v)
		}
	}
	all = slices.DeleteFunc(slices.Clone(all), func(v float64) bool { return v < a.low*0.9999 || v > a.high*1.0001 })
	near := func(v, w float64) bool { return math.Abs(a.at(v)-a.at(w)) < gap }
	var kept []float64
	for i, v := range all {
		last := len(all) - 1
		if len(kept) > 0 && near(v, kept[len(kept)-1]) || i != last && i > 0 && near(v, all[last]) {
			continue
		}
		kept = append(kept, v)
	}
	return kept
}

// roundUp returns the next of 1, 2 and 5 times a power of ten that is not below v.
func roundUp(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v*0.9999 {
			return m * power
		}
	}
	return 10 * power
}

// roundDown returns the next of 1, 2 and 5 times a power of ten that is not above v.
func roundDown(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{5, 2} {
		if m*power <= v*1.0001 {
			return m * power
		}
	}
	return power
}
