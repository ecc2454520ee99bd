// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A Run is everything that one run of the benchmark recorded.
type Run struct {
	Rig         Rig          `json:"rig"`
	Results     []Result     `json:"results"`
	Comparisons []Comparison `json:"comparisons"`
	Checks      []Check      `json:"checks"`
}

// A Rig says on what and how a run was made.
type Rig struct {
	CPUs   int       `json:"cpus"`
	CPU    string    `json:"cpu"`
	Kernel string    `json:"kernel"`
	Go     string    `json:"go"`
	Time   time.Time `json:"time"` // of the start
	Seed   int64     `json:"seed"` // of the order of the servers in the rounds

	OS       string            `json:"os"` // and architecture, as in linux/amd64
	Memory   int64             `json:"memory_bytes,omitempty"`
	Loops    int               `json:"loops"`                     // event loops, and GOMAXPROCS, of every server
	Duration float64           `json:"seconds_per_round"`         // what was asked for; a round has what it took
	Warmup   float64           `json:"warmup_seconds"`            // before each round
	Syscalls string            `json:"syscalls_counted"`          // how, or why they could not be
	Load     string            `json:"load"`                      // how the load generator waits
	Versions map[string]string `json:"versions,omitempty"`        // of each server: module and version
	Revision string            `json:"revision,omitempty"`        // of the repository, if the build knows it
	Build    float64           `json:"build_seconds,omitempty"`   // of the servers, before the clock started
	Elapsed  float64           `json:"elapsed_seconds,omitempty"` // of the whole run, without building
	Command  []string          `json:"command_line,omitempty"`    // flags as given
}

// A Result is one server in one case of a scenario. Scenario, Server, Conns, Size, Depth and Rate together name it.
type Result struct {
	Scenario string  `json:"scenario"`
	Server   string  `json:"server"`
	Conns    int     `json:"conns"`
	Size     int     `json:"size"` // bytes of a message
	Depth    int     `json:"depth"`
	Rate     float64 `json:"rate"` // requests per second of an open loop, 0 for a closed one

	// Survived is nil except in survival scenarios, and there too if the server cannot be put to the test.
	Survived *bool `json:"survived"`
	// Reason says why a scenario was not survived, or why there are no rounds.
	Reason string  `json:"reason,omitempty"`
	Rounds []Round `json:"rounds"`
}

// A Round is one measurement of one server process. Rounds with the same index, of all servers of a case, were made next
// to each other. A round that could not be made at all has Errors > 0 and no figures.
type Round struct {
	Messages          int64    `json:"messages"` // answered within Seconds, after the warm-up
	Seconds           float64  `json:"seconds"`
	MessagesPerSecond *float64 `json:"messages_per_second"`
	CPU               *float64 `json:"server_cpu_ns_per_message"`
	Syscalls          *float64 `json:"server_syscalls_per_message"`
	Latency           Latency  `json:"latency_ns"`
	RSS               *int64   `json:"server_rss_bytes"`
	RSSPerConn        *float64 `json:"rss_bytes_per_connection"`
	Errors            int64    `json:"errors"`     // replies that never came, connections that broke
	Mismatches        int64    `json:"mismatches"` // replies that were not the expected bytes

	UserCPU       *float64 `json:"server_user_ns_per_message"`
	SystemCPU     *float64 `json:"server_system_ns_per_message"`
	Cores         *float64 `json:"server_cores"` // CPU time by wall time, also where there are no messages
	Switches      *float64 `json:"server_context_switches_per_message"`
	GeneratorBusy *float64 `json:"generator_busy"`    // 0 to 1; the busiest thread of the load generator
	GeneratorLate *int64   `json:"generator_late_ns"` // open loop: p99 of how long after its time a request was written
	Steal         *float64 `json:"steal"`             // share of the machine's CPU time that its host took
	Order         int      `json:"order"`             // place of this server in its round, from 0
	// Spectrum is the latency distribution, for charts: percentiles from 0 to 100, ascending.
	Spectrum []Percentile `json:"latency_spectrum,omitempty"`
	// Failures are the first few errors in words.
	Failures []string `json:"failures,omitempty"`
}

// Latency is in ns, from the moment a request was scheduled (open loop) or written (closed loop) to the last byte of its
// reply. A percentile that the number of messages does not support is nil.
type Latency struct {
	P50  *int64 `json:"p50"`
	P90  *int64 `json:"p90"`
	P99  *int64 `json:"p99"`
	P999 *int64 `json:"p999"`
	Max  *int64 `json:"max"`
}

// A Percentile is one point of a latency distribution.
type Percentile struct {
	Percent float64 `json:"percent"`
	NS      int64   `json:"ns"`
}

// A Comparison is the first server of a run beside another one. Ratio is the median over rounds of (server / baseline)
// taken within a round; Low and High bound it at 95 %. nil where a figure is missing, or the rounds are too few for
// bounds.
type Comparison struct {
	Scenario string   `json:"scenario"`
	Metric   string   `json:"metric"` // the figure's name in Round; latency_ns.p99 and so on
	Server   string   `json:"server"`
	Baseline string   `json:"baseline"`
	Ratio    *float64 `json:"ratio"`
	Low      *float64 `json:"low"`
	High     *float64 `json:"high"`
	Rounds   int      `json:"rounds"`

	Conns int     `json:"conns"`
	Size  int     `json:"size"`
	Depth int     `json:"depth"`
	Rate  float64 `json:"rate"`
}

// Undecided says that the interval holds 1, or is not known: the comparison cannot tell.
func (c *Comparison) Undecided() bool {
	return c.Low == nil || c.High == nil || *c.Low <= 1 && 1 <= *c.High
}

// A Check is something that the run found out about itself.
type Check struct {
	Name string `json:"name"` // steal, throttling, generator, errors, clock, load
	OK   bool   `json:"ok"`
	Text string `json:"text"` // one line
}

// Write writes the run as indented JSON.
func (r *Run) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// Read reads what Write wrote.
func Read(rd io.Reader) (*Run, error) {
	r := new(Run)
	if err := json.NewDecoder(rd).Decode(r); err != nil {
		return nil, fmt.Errorf("record: not the results of a run: %w", err)
	}
	if len(r.Results) == 0 {
		return nil, errors.New("record: not the results of a run: it has none")
	}
	return r, nil
}

// ReadFile reads the file that -json wrote.
func ReadFile(name string) (*Run, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}
