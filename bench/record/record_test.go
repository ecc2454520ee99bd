// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package record_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/record"
)

var update = flag.Bool("update", false, "rewrite the golden file")

func ptr[T any](v T) *T { return &v }

func example() *record.Run {
	return &record.Run{
		Rig: record.Rig{CPUs: 2, CPU: "an example", Kernel: "Linux 6.1", Go: "go1.26", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Seed: 1,
			OS: "linux/amd64", Loops: 1, Duration: 3, Warmup: 0.5, Syscalls: "not counted", Load: "epoll"},
		Results: []record.Result{
			{Scenario: "echo", Server: "reactor", Conns: 1000, Size: 64, Depth: 1, Rounds: []record.Round{{
				Messages: 123456, Seconds: 3, MessagesPerSecond: ptr(41152.0), CPU: ptr(8600.0), Syscalls: nil,
				Latency: record.Latency{P50: ptr(int64(20000)), Max: ptr(int64(900000))},
				RSS:     ptr(int64(9 << 20)), RSSPerConn: ptr(505.5), GeneratorBusy: ptr(0.5),
			}}},
			{Scenario: "slow", Server: "gnet", Conns: 20, Size: 64, Depth: 1, Survived: ptr(false), Reason: "memory grew", Rounds: []record.Round{{Errors: 3}}},
			{Scenario: "udp", Server: "netpoll", Conns: 64, Size: 64, Depth: 1, Reason: "no datagrams", Rounds: []record.Round{}},
		},
		Comparisons: []record.Comparison{
			{Scenario: "echo", Metric: "server_cpu_ns_per_message", Server: "reactor", Baseline: "gnet", Ratio: ptr(0.85), Low: ptr(0.8), High: ptr(0.89),
				Rounds: 15, Conns: 1000, Size: 64, Depth: 1},
			{Scenario: "echo", Metric: "latency_ns.p99", Server: "reactor", Baseline: "gnet", Conns: 1000, Size: 64, Depth: 1},
		},
		Checks: []record.Check{{Name: "steal", OK: true, Text: "none"}},
	}
}

// The file is relied on from outside: it only grows.
func TestJSONIsAsPromised(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, example().Write(&b))
	const golden = "testdata/run.json"
	if *update {
		require.NoError(t, os.WriteFile(golden, b.Bytes(), 0o666))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String())
}

func TestWhatIsWrittenCanBeRead(t *testing.T) {
	got, err := record.ReadFile("testdata/run.json")
	require.NoError(t, err)
	assert.Equal(t, example(), got)
}

func TestOtherFilesAreRefused(t *testing.T) {
	for _, text := range []string{"", "goos: linux\n", "[]", "{}"} {
		_, err := record.Read(strings.NewReader(text))
		assert.ErrorContains(t, err, "not the results of a run", text)
	}
}

func TestMetricsAreNamedAsInJSON(t *testing.T) {
	r := example().Results[0].Rounds[0]
	for name, want := range map[string]any{
		"messages_per_second": 41152.0, "server_cpu_ns_per_message": 8600.0, "latency_ns.p50": 20000.0,
		"rss_bytes_per_connection": 505.5, "server_rss_bytes": float64(9 << 20),
	} {
		m, ok := record.MetricNamed(name)
		require.True(t, ok, name)
		assert.Equal(t, want, *m.Of(&r), name)
	}
	m, _ := record.MetricNamed("server_syscalls_per_message")
	assert.Nil(t, m.Of(&r), "not measured is not zero")
}
