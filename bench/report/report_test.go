// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/report"
	"github.com/quartet-go/quartet/bench/stats"
)

func ptr[T any](v T) *T { return &v }

func rounds(n int, cpu, p99 float64) (list []record.Round) {
	for range n {
		list = append(list, record.Round{
			Messages: 1000, Seconds: 1, MessagesPerSecond: ptr(123456.0), CPU: ptr(cpu), Syscalls: ptr(2.0449),
			Latency: record.Latency{P50: ptr(int64(45600)), P99: ptr(int64(p99))}, RSS: ptr(int64(7 << 20)),
		})
	}
	return list
}

func TestTable(t *testing.T) {
	run := &record.Run{Results: []record.Result{
		{Scenario: "echo", Server: "reactor", Conns: 200, Size: 64, Depth: 1, Rounds: rounds(6, 850, 1e6)},
		{Scenario: "echo", Server: "goroutine", Conns: 200, Size: 64, Depth: 1, Rounds: rounds(6, 1000, 1e6)},
		{Scenario: "echo", Server: "gnet", Conns: 200, Size: 64, Depth: 1, Rounds: rounds(5, 850, 1e6)},
		{Scenario: "slow", Server: "reactor", Conns: 1, Size: 1 << 20, Depth: 2, Survived: ptr(true), Rounds: []record.Round{{Cores: ptr(0.25)}}},
		{Scenario: "slow", Server: "goroutine", Conns: 1, Size: 1 << 20, Depth: 2, Reason: "cannot", Rounds: []record.Round{}},
		{Scenario: "slow", Server: "gnet", Conns: 1, Size: 1 << 20, Depth: 2, Survived: ptr(false), Reason: "it grew", Rounds: []record.Round{{Errors: 3, Mismatches: 1}}},
	}}
	run.Comparisons = stats.Compare(run.Results)
	var b bytes.Buffer
	require.NoError(t, report.Table(&b, run))
	assert.Equal(t, `echo: 200 connections, 64 B, 6 rounds
             messages/s      CPU     CPU first/this  calls      p50      p99    memory  wrong  missing
  reactor          123k   850 ns                      2.04  45.6 µs  1.00 ms  7.00 MiB      0        0
  goroutine        123k  1.00 µs  0.85 [0.85, 0.85]   2.04  45.6 µs  1.00 ms  7.00 MiB      0        0
  gnet             123k   850 ns             1.00 ~   2.04  45.6 µs  1.00 ms  7.00 MiB      0        0

slow: 1 connection, 1.00 MiB, 2 in flight, 1 round
             survived  cores  wrong  missing
  reactor         yes   0.25      0        0
  goroutine         -      -      -        -
  gnet             NO      -      1        3
  goroutine: cannot
  gnet: it grew

`, b.String())
}

// Who reads that gnet takes ten times as long has to read that it need not.
func TestTableSaysWhatGnetsUsersDo(t *testing.T) {
	const note = "  gnet: a write for each answer, as in its examples; -servers gnet-batch has one for all answers to a read\n"
	servers := []record.Result{
		{Server: "reactor", Rounds: rounds(1, 1, 1)}, {Server: "gnet", Rounds: rounds(1, 1, 1)}, {Server: "gnet-batch", Rounds: rounds(1, 1, 1)},
	}
	for _, c := range []struct {
		scenario       string
		depth, servers int
		want           bool
	}{
		{"frames", 16, 2, true}, {"frames", 16, 3, false}, {"frames", 1, 2, false}, {"echo", 16, 2, false}, {"frames", 16, 1, false},
	} {
		run := &record.Run{}
		for _, r := range servers[:c.servers] {
			r.Scenario, r.Depth = c.scenario, c.depth
			run.Results = append(run.Results, r)
		}
		var b bytes.Buffer
		require.NoError(t, report.Table(&b, run))
		assert.Equal(t, c.want, strings.Contains(b.String(), note), "%v", c)
	}
}

func TestRatio(t *testing.T) {
	for want, c := range map[string]*record.Comparison{
		"-":                   nil,
		"0.50 ~":              {Ratio: ptr(0.5)},
		"0.90 [0.80, 1.01] ~": {Ratio: ptr(0.9), Low: ptr(0.8), High: ptr(1.01)},
		"0.90 [0.80, 0.99]":   {Ratio: ptr(0.9), Low: ptr(0.8), High: ptr(0.99)},
	} {
		assert.Equal(t, want, report.Ratio(c))
	}
}

func TestFigures(t *testing.T) {
	for want, got := range map[string]string{
		"999 ns": report.Duration(999), "1.23 µs": report.Duration(1234), "12.3 ms": report.Duration(12.34e6), "1.50 s": report.Duration(1.5e9),
		"100 ns": report.Duration(99.97), "10.0 µs": report.Duration(9996), "9.99 ms": report.Duration(9.994e6), "0.10": report.Count(0.0996),
		"512 B": report.Bytes(512), "7825 B": report.Bytes(7825), "79.5 KiB": report.Bytes(81408), "64.0 MiB": report.Bytes(64 << 20),
		"950": report.Count(950), "12.3k": report.Count(12345), "2.01M": report.Count(2.01e6),
	} {
		assert.Equal(t, want, got)
	}
	m, _ := record.MetricNamed("server_cpu_ns_per_message")
	assert.Equal(t, "-", report.Figure(m, nil), "not zero")
}

func TestProgressVanishesOnAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p := report.NewProgress(w, 3, false)
	p.Step("something")
	p.Clear()
	w.Close()
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.Empty(t, got)
}
