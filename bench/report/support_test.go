// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report_test

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/stats"
)

// sampleServers and what they cost in sampleRun. These figures are invented: they only have the shape of measured ones.
var sampleServers = []struct {
	name         string
	cpu, memory  float64
	slow, emfile bool
}{
	{"alpha", 8000, 500, true, true},
	{"bravo", 11000, 7800, true, true},
	{"charlie", 9500, 560, false, false},
	{"delta", 9900, 500, true, true},
	{"ember", 14000, 13000, false, true},
	{"foxtrot", 8100, 340, false, false},
	{"golf", 12500, 650, true, false},
}

// sampleRun makes a run up. factor multiplies what a message costs the first server.
func sampleRun(day int, factor float64) *record.Run {
	r := rand.New(rand.NewPCG(uint64(day), 0))
	run := &record.Run{Rig: record.Rig{
		CPUs: 2, CPU: "Sample CPU <invented>", Kernel: "Linux 6.1", Go: "go1.26.8", OS: "linux/amd64", Memory: 8 << 30, Loops: 1,
		Time: time.Date(2026, 1, day, 12, 0, 0, 0, time.UTC), Seed: int64(day), Duration: 1, Warmup: 0.25,
		Syscalls: "perf_event_open(2)", Load: "epoll, 1 thread", Revision: "0123456789abcdef", Command: []string{"-servers", "all"},
		Versions: map[string]string{"alpha": "this repository", "bravo": "go1.26.8"},
	}}
	add := func(scenario string, conns, size, depth, rounds int, scale float64) {
		for i, s := range sampleServers {
			result := record.Result{Scenario: scenario, Server: s.name, Conns: conns, Size: size, Depth: depth, Rounds: []record.Round{}}
			cost := s.cpu * scale
			if i == 0 {
				cost *= factor
			}
			for range rounds {
				result.Rounds = append(result.Rounds, sampleRound(cost*math.Exp(0.03*r.NormFloat64()), s.memory*math.Exp(0.05*r.NormFloat64())))
			}
			run.Results = append(run.Results, result)
		}
	}
	add("echo", 200, 64, 1, 9, 1)
	add("frames", 100, 64, 16, 9, 0.2)
	add("idle", 10000, 64, 1, 9, 1)
	for _, conns := range []int{10, 100, 1000, 5000, 15000} {
		add("echo", conns, 64, 1, 3, 0.9+float64(conns)/20000)
	}
	for _, size := range []int{16, 1024, 64 << 10, 1 << 20} {
		add("echo", 200, size, 1, 3, 1+float64(size)/20000)
	}
	for _, scenario := range []string{"slow", "half-close", "emfile"} {
		for _, s := range sampleServers {
			result := record.Result{Scenario: scenario, Server: s.name, Conns: 20, Size: 64, Depth: 1, Rounds: []record.Round{}}
			yes, no := true, false
			switch {
			case scenario == "half-close" && s.name == "golf":
				result.Reason = "has no half-close over tcp"
			case scenario == "slow" && !s.slow:
				result.Survived, result.Reason = &no, "memory grew by 791 MiB in 2.0 s"
			case scenario == "emfile" && !s.emfile:
				result.Survived, result.Reason = &no, "a new client after the crowd: i/o timeout"
			default:
				result.Survived = &yes
			}
			run.Results = append(run.Results, result)
		}
	}
	run.Comparisons = stats.Compare(run.Results)
	run.Checks = []record.Check{{Name: "steal", OK: true, Text: "the host took 0.10 % of the CPU time"}, {Name: "load", OK: false, Text: "other processes used 0.31 of 2 CPUs"}}
	return run
}

func sampleRound(cost, memory float64) record.Round {
	speed, calls, rss := 1e9/cost, 2.1, int64(6e6+memory*1000)
	at := func(percent float64) int64 {
		return int64(cost * 4 * (1 + 1.2*math.Pow(-math.Log10(1-percent/100), 1.7)))
	}
	p50, p90, p99, p999, last := at(50), at(90), at(99), at(99.9), at(99.995)
	round := record.Round{
		Messages: int64(speed), Seconds: 1, MessagesPerSecond: &speed, CPU: &cost, Syscalls: &calls,
		Latency: record.Latency{P50: &p50, P90: &p90, P99: &p99, P999: &p999, Max: &last}, RSS: &rss, RSSPerConn: &memory,
	}
	for _, percent := range []float64{0, 50, 75, 90, 95, 97.5, 99, 99.5, 99.9, 99.95, 99.99, 99.995} {
		round.Spectrum = append(round.Spectrum, record.Percentile{Percent: percent, NS: at(percent)})
	}
	round.Spectrum = append(round.Spectrum, record.Percentile{Percent: 100, NS: last})
	return round
}
