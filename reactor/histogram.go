// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"math/bits"
	"time"
)

// histogramBuckets covers 1 µs to 4.2 s by doubling, and what is longer.
const histogramBuckets = 24

// A Histogram counts durations in buckets whose bounds double. The zero value is empty.
type Histogram struct {
	// Counts holds how many durations were at most Bound of their index and more than the Bound before it; the last
	// counts those that were longer than all bounds.
	Counts [histogramBuckets]uint64 `json:"counts"`

	// Sum is all of them together.
	Sum time.Duration `json:"sum_ns"`

	// Max is the longest.
	Max time.Duration `json:"max_ns"`
}

// Bound returns the inclusive upper bound of Counts[i], for i from 0 to len(Counts)-2: 1 µs, 2 µs, 4 µs and so on.
func (*Histogram) Bound(i int) time.Duration { return time.Microsecond << i }

// Count returns how many durations there were.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Quantile returns a bound that at least the q-th part of the durations, q from 0 to 1, do not exceed: that of their
// bucket, or Max where that is less. It is 0 for an empty histogram.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank, seen := q*float64(h.Count()), uint64(0)
	for i, n := range h.Counts[:histogramBuckets-1] {
		if seen += n; float64(seen) >= rank {
			return min(h.Bound(i), h.Max)
		}
	}
	return h.Max
}

// add counts one.
func (h *Histogram) add(ns int64) {
	ns = max(ns, 0)
	h.Sum += time.Duration(ns)
	h.Max = max(h.Max, time.Duration(ns))
	h.Counts[min(bits.Len64(uint64(max(ns, 1)-1)/1000), histogramBuckets-1)]++
}
