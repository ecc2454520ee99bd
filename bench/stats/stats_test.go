// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/stats"
)

func counting(n int) (s []float64) {
	for i := range n {
		s = append(s, float64(i+1))
	}
	rand.Shuffle(n, func(i, j int) { s[i], s[j] = s[j], s[i] })
	return s
}

// The ranks are those of the tables for the sign test's interval of a median at 95 % (for example Conover, Practical
// Nonparametric Statistics, 3.2); up to 30 benchmath has the same.
func TestIntervalIsThatOfTheTables(t *testing.T) {
	for n, want := range map[int][2]float64{
		6: {1, 6}, 7: {1, 7}, 8: {1, 8}, 9: {2, 8}, 10: {2, 9}, 12: {3, 10}, 15: {4, 12}, 20: {6, 15}, 30: {10, 21}, 50: {18, 33}, 100: {40, 61},
	} {
		low, high, ok := stats.Interval(counting(n))
		require.True(t, ok, n)
		assert.Equal(t, want, [2]float64{low, high}, "of 1..%d", n)
	}
}

func TestFewerThanSixHaveNoInterval(t *testing.T) {
	for n := range 6 {
		_, _, ok := stats.Interval(counting(n))
		assert.False(t, ok, n)
	}
}

func TestIntervalOfManyDoesNotUnderflow(t *testing.T) {
	low, high, ok := stats.Interval(counting(1000)) // the most rounds that -rounds takes
	require.True(t, ok)
	assert.Equal(t, [2]float64{469, 532}, [2]float64{low, high})
}

// The interval holds the true median in at least 95 of 100 samples, whatever the distribution.
func TestIntervalCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]struct {
		median float64
		draw   func() float64
	}{
		"exponential": {math.Ln2, rng.ExpFloat64},
		"two modes": {1.5, func() float64 {
			return float64(1+rng.IntN(2)) + (rng.Float64()-0.5)*1.001 // overlapping at 1.5 by a little
		}},
	} {
		held := 0
		const samples = 4000
		for range samples {
			s := make([]float64, 7)
			for i := range s {
				s[i] = draw.draw()
			}
			low, high, _ := stats.Interval(s)
			if low <= draw.median && draw.median <= high {
				held++
			}
		}
		assert.Greater(t, held, samples*95/100, name)
	}
}

func TestMedian(t *testing.T) {
	assert.Equal(t, 2.0, stats.Median([]float64{3, 1, 2}))
	assert.Equal(t, 2.5, stats.Median([]float64{4, 1, 2, 3}))
}

func ptr[T any](v T) *T { return &v }

func result(server string, cpu ...float64) record.Result {
	r := record.Result{Scenario: "echo", Server: server, Conns: 10, Size: 64, Depth: 1}
	for _, c := range cpu {
		r.Rounds = append(r.Rounds, record.Round{CPU: ptr(c)})
	}
	return r
}

func find(list []record.Comparison, baseline, metric string) *record.Comparison {
	for i := range list {
		if list[i].Baseline == baseline && list[i].Metric == metric {
			return &list[i]
		}
	}
	return nil
}

func TestRatiosAreTakenWithinRounds(t *testing.T) {
	// The machine was ten times slower in some rounds, which is nobody's merit.
	list := stats.Compare([]record.Result{
		result("reactor", 80, 800, 80, 800, 80, 88, 72),
		result("gnet", 100, 1000, 100, 1000, 100, 100, 100),
		result("goroutine", 80, 800, 81, 790, 80, 87, 73),
	})
	const cpu = "server_cpu_ns_per_message"
	gnet := find(list, "gnet", cpu)
	require.NotNil(t, gnet)
	assert.Equal(t, "reactor", gnet.Server)
	assert.InDelta(t, 0.80, *gnet.Ratio, 1e-9)
	assert.InDelta(t, 0.72, *gnet.Low, 1e-9)
	assert.InDelta(t, 0.88, *gnet.High, 1e-9)
	assert.Equal(t, 7, gnet.Rounds)
	assert.False(t, gnet.Undecided())
	assert.True(t, find(list, "goroutine", cpu).Undecided())
	assert.Len(t, list, 2*len(record.Metrics), "the first server beside each other one, for every metric")
}

func TestWhatWasNotMeasuredIsNotCompared(t *testing.T) {
	other := result("gnet", 100, 100, 100)
	other.Rounds[1].CPU = nil
	list := stats.Compare([]record.Result{result("reactor", 50, 70, 50), other, result("evio")})
	c := find(list, "gnet", "server_cpu_ns_per_message")
	assert.Equal(t, 2, c.Rounds)
	assert.InDelta(t, 0.5, *c.Ratio, 1e-9)
	assert.Nil(t, c.Low, "two rounds bound nothing")
	assert.True(t, c.Undecided())
	for _, baseline := range []string{"gnet", "evio"} {
		c := find(list, baseline, "latency_ns.p99")
		assert.Nil(t, c.Ratio, fmt.Sprint(baseline))
		assert.Zero(t, c.Rounds)
	}
}

// The slow rounds are those with too few answers for a high percentile: without them it would flatter, and lie below a
// lower one. A round without any answer has no latency and says nothing of it.
func TestAPercentileIsThatOfAllRoundsOrUnknown(t *testing.T) {
	ns := func(n int64) *int64 { return &n }
	r := result("reactor", 1, 1, 1)
	r.Rounds[0].Latency = record.Latency{P50: ns(10), P99: ns(20), P999: ns(30)}
	r.Rounds[1].Latency = record.Latency{P50: ns(100), P99: ns(200)}
	center := func(name string) *float64 {
		m, ok := record.MetricNamed(name)
		require.True(t, ok)
		return stats.Center(&r, m)
	}
	require.NotNil(t, center("latency_ns.p99"))
	assert.InDelta(t, 110, *center("latency_ns.p99"), 1e-9)
	assert.Nil(t, center("latency_ns.p999"))
	r.Rounds[2].CPU = nil
	assert.NotNil(t, center("server_cpu_ns_per_message"))
}

func TestCasesAreComparedWithTheirLike(t *testing.T) {
	large := result("reactor", 1000)
	large.Size = 1 << 20
	largeGnet := result("gnet", 500)
	largeGnet.Size = 1 << 20
	list := stats.Compare([]record.Result{result("reactor", 10), result("gnet", 20), large, largeGnet})
	var ratios []float64
	for _, c := range list {
		if c.Ratio != nil {
			ratios = append(ratios, *c.Ratio)
		}
	}
	assert.Equal(t, []float64{0.5, 2}, ratios)
}
