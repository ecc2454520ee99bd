// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package stats draws comparisons from recorded rounds.
//
// A ratio is taken within a round, where both servers met the same machine a few seconds apart, and its median over the
// rounds is what is reported. The interval around it assumes nothing about how ratios are distributed: it is bounded by
// order statistics of the sample, so that it holds the true median with at least 95 %, and it takes six rounds
// to have one. golang.org/x/perf/benchmath computes the same; it is not used because its module would raise the version
// of x/sys under the reactor, which is no business of a benchmark.
package stats

import (
	"math"
	"slices"
	"strings"

	"github.com/quartet-go/quartet/bench/record"
)

// Confidence is that of all intervals.
const Confidence = 0.95

// Median returns the median of a sample that is not empty.
func Median(sample []float64) float64 {
	s := slices.Sorted(slices.Values(sample))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// Interval bounds the median of what a sample was drawn from at 95 %. ok is false if the sample is too small, under 6.
//
// Of a sorted sample of n, the k-th smallest and k-th largest enclose the median but with the probability that fewer
// than k fall on one side of it, twice P(Bin(n, 1/2) < k). The largest such k is taken.
func Interval(sample []float64) (low, high float64, ok bool) {
	s := slices.Sorted(slices.Values(sample))
	k := rank(len(s))
	if k == 0 {
		return 0, 0, false
	}
	return s[k-1], s[len(s)-k], true
}

// rank returns the largest k for which the k-th from both ends enclose the median at 95 %, 0 for none.
func rank(n int) int {
	term := math.Pow(0.5, float64(n)) // P(Bin(n, 1/2) = i), from i = 0
	below := 0.0                      // P(Bin(n, 1/2) < k)
	for k := 1; k <= n/2+1; k++ {
		below += term
		if 2*below > 1-Confidence {
			return k - 1
		}
		term *= float64(n-k+1) / float64(k)
	}
	return 0
}

// key names a case of a scenario.
type key struct {
	scenario           string
	conns, size, depth int
	rate               float64
}

func keyOf(r *record.Result) key { return key{r.Scenario, r.Conns, r.Size, r.Depth, r.Rate} }

// Compare compares the first server of the results with each other one, case by case and metric by metric.
func Compare(results []record.Result) []record.Comparison {
	list := []record.Comparison{}
	if len(results) == 0 {
		return list
	}
	first := results[0].Server
	for i := range results {
		baseline := &results[i]
		if baseline.Server == first {
			continue
		}
		j := slices.IndexFunc(results, func(r record.Result) bool { return r.Server == first && keyOf(&r) == keyOf(baseline) })
		if j < 0 {
			continue
		}
		for _, m := range record.Metrics {
			list = append(list, compare(&results[j], baseline, m))
		}
	}
	return list
}

func compare(server, baseline *record.Result, m record.Metric) record.Comparison {
	c := record.Comparison{
		Scenario: server.Scenario, Metric: m.Name, Server: server.Server, Baseline: baseline.Server,
		Conns: server.Conns, Size: server.Size, Depth: server.Depth, Rate: server.Rate,
	}
	var ratios []float64
	for i := range min(len(server.Rounds), len(baseline.Rounds)) {
		a, b := m.Of(&server.Rounds[i]), m.Of(&baseline.Rounds[i])
		if a != nil && b != nil && *b > 0 {
			ratios = append(ratios, *a / *b)
		}
	}
	c.Rounds = len(ratios)
	if len(ratios) == 0 {
		return c
	}
	median := Median(ratios)
	c.Ratio = &median
	if low, high, ok := Interval(ratios); ok {
		c.Low, c.High = &low, &high
	}
	return c
}

// Center returns the median of a metric over the rounds of a result, nil if none has it. A percentile of latency is also
// nil if a round had too few answers for it: those that have it are the fast ones.
func Center(r *record.Result, m record.Metric) *float64 {
	var sample []float64
	for i := range r.Rounds {
		switch v := m.Of(&r.Rounds[i]); {
		case v != nil:
			sample = append(sample, *v)
		case r.Rounds[i].Latency.P50 != nil && strings.HasPrefix(m.Name, "latency_ns."):
			return nil
		}
	}
	if len(sample) == 0 {
		return nil
	}
	median := Median(sample)
	return &median
}
