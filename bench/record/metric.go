// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package record

// A Metric is a figure of a round, by the name that it has in JSON.
type Metric struct {
	Name   string
	Title  string
	Unit   string // ns, bytes, messages/s or nothing
	Higher bool   // more is better
	Of     func(*Round) *float64
}

// Metrics are the figures that are compared, in the order of the reports.
var Metrics = []Metric{
	{"messages_per_second", "messages/s", "messages/s", true, func(r *Round) *float64 { return r.MessagesPerSecond }},
	{"server_cpu_ns_per_message", "CPU a message", "ns", false, func(r *Round) *float64 { return r.CPU }},
	{"server_syscalls_per_message", "system calls a message", "", false, func(r *Round) *float64 { return r.Syscalls }},
	{"server_context_switches_per_message", "context switches a message", "", false, func(r *Round) *float64 { return r.Switches }},
	{"server_cores", "cores in use", "", false, func(r *Round) *float64 { return r.Cores }},
	{"latency_ns.p50", "latency p50", "ns", false, func(r *Round) *float64 { return float(r.Latency.P50) }},
	{"latency_ns.p90", "latency p90", "ns", false, func(r *Round) *float64 { return float(r.Latency.P90) }},
	{"latency_ns.p99", "latency p99", "ns", false, func(r *Round) *float64 { return float(r.Latency.P99) }},
	{"latency_ns.p999", "latency p99.9", "ns", false, func(r *Round) *float64 { return float(r.Latency.P999) }},
	{"latency_ns.max", "latency max", "ns", false, func(r *Round) *float64 { return float(r.Latency.Max) }},
	{"server_rss_bytes", "resident memory", "bytes", false, func(r *Round) *float64 { return float(r.RSS) }},
	{"rss_bytes_per_connection", "memory a connection", "bytes", false, func(r *Round) *float64 { return r.RSSPerConn }},
}

// MetricNamed finds a metric.
func MetricNamed(name string) (Metric, bool) {
	for _, m := range Metrics {
		if m.Name == name {
			return m, true
		}
	}
	return Metric{}, false
}

func float(n *int64) *float64 {
	if n == nil {
		return nil
	}
	f := float64(*n)
	return &f
}
