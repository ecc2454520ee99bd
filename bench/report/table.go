// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/stats"
)

// Table writes the tables of all cases, in the order of the results.
func Table(w io.Writer, run *record.Run) error {
	var b strings.Builder
	for from := 0; from < len(run.Results); {
		to := from + 1
		for to < len(run.Results) && sameCase(&run.Results[from], &run.Results[to]) {
			to++
		}
		table(&b, run, run.Results[from:to])
		from = to
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Header says on what and how the run was made.
func Header(r *record.Rig) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rig     %d x %s, %s, %s, %s\n", r.CPUs, orUnknown(r.CPU), r.Kernel, r.Go, r.Time.Format("2006-01-02 15:04 -0700"))
	fmt.Fprintf(&b, "method  %g s a round after %g s of warm-up, a new process each time; %d %s, GOMAXPROCS=%d; order shuffled with seed %d\n",
		r.Duration, r.Warmup, r.Loops, plural(r.Loops, "event loop"), r.Loops, r.Seed)
	fmt.Fprintf(&b, "load    %s\ncalls   %s\n\n", r.Load, r.Syscalls)
	return b.String()
}

// Checks says what the run found out about itself.
func Checks(checks []record.Check) string {
	var b strings.Builder
	for _, c := range checks {
		mark := "ok  "
		if !c.OK {
			mark = "WARN"
		}
		fmt.Fprintf(&b, "%s  %-10s  %s\n", mark, c.Name, c.Text)
	}
	return b.String()
}

// Legend explains the tables.
const Legend = `Medians over the rounds. CPU is the server's time, user and system, for each message. In the row of a server, "first/this" is the first
server's figure divided by this one's within each round: the median, and in brackets where it lies at 95 %. ~ means that it cannot be told from 1.
`

func sameCase(a, b *record.Result) bool {
	return a.Scenario == b.Scenario && a.Conns == b.Conns && a.Size == b.Size && a.Depth == b.Depth && a.Rate == b.Rate
}

// CaseTitle names a case.
func CaseTitle(r *record.Result) string {
	title := fmt.Sprintf("%s: %d %s, %s", r.Scenario, r.Conns, plural(r.Conns, "connection"), Bytes(float64(r.Size)))
	if r.Depth > 1 {
		title += fmt.Sprintf(", %d in flight", r.Depth)
	}
	if r.Rate > 0 {
		title += fmt.Sprintf(", %s requests/s (open loop)", Count(r.Rate))
	}
	return title
}

// columns are the metrics of the table, and which are compared there. A column without a figure is left out.
var columns = []struct {
	title, metric string
	compared      bool
	conns         int // shown from so many connections
}{
	{"messages/s", "messages_per_second", false, 0},
	{"CPU", "server_cpu_ns_per_message", false, 0},
	{"CPU first/this", "server_cpu_ns_per_message", true, 0},
	{"calls", "server_syscalls_per_message", false, 0},
	{"p50", "latency_ns.p50", false, 0},
	{"p99", "latency_ns.p99", false, 0},
	{"p99.9", "latency_ns.p999", false, 0},
	{"memory", "server_rss_bytes", false, 0},
	{"a connection", "rss_bytes_per_connection", false, 1000},
	{"first/this", "rss_bytes_per_connection", true, 1000},
	{cores, "server_cores", false, 0},
}

// cores is the column that stands for CPU where there is none for a message.
const cores = "cores"

func table(b *strings.Builder, run *record.Run, results []record.Result) {
	fmt.Fprintf(b, "%s, %d %s\n", CaseTitle(&results[0]), rounds(results), plural(rounds(results), "round"))
	align(b, grid(run, results))
	for _, note := range notes(results) {
		fmt.Fprintf(b, "  %s\n", note)
	}
	b.WriteByte('\n')
}

// notes says why servers have no figures or failed, and what a reader would otherwise hold against one of them.
func notes(results []record.Result) (list []string) {
	named := func(name string) bool {
		return slices.ContainsFunc(results, func(r record.Result) bool { return r.Server == name && len(r.Rounds) > 0 })
	}
	for i := range results {
		r := &results[i]
		if r.Reason != "" {
			list = append(list, r.Server+": "+r.Reason)
		}
		if r.Server == "gnet" && r.Scenario == "frames" && r.Depth > 1 && !named("gnet-batch") {
			list = append(list, "gnet: a write for each answer, as in its examples; -servers gnet-batch has one for all answers to a read")
		}
	}
	return list
}

// grid is the table of a case: a header, and a row for each server.
func grid(run *record.Run, results []record.Result) [][]string {
	survival := false
	for i := range results {
		survival = survival || results[i].Survived != nil
	}
	grid := [][]string{{""}}
	for i := range results {
		grid = append(grid, []string{results[i].Server})
	}
	if survival {
		grid[0] = append(grid[0], "survived")
		for i := range results {
			grid[i+1] = append(grid[i+1], survived(&results[i]))
		}
	}
	perMessage := false
	for i := range results {
		perMessage = perMessage || slices.ContainsFunc(results[i].Rounds, func(r record.Round) bool { return r.CPU != nil })
	}
	for _, c := range columns {
		if results[0].Conns < c.conns || c.title == cores && perMessage {
			continue
		}
		column(grid, run, results, c.title, c.metric, c.compared)
	}
	grid[0] = append(grid[0], "wrong", "missing")
	for i := range results {
		wrong, missing := int64(0), int64(0)
		for _, r := range results[i].Rounds {
			wrong, missing = wrong+r.Mismatches, missing+r.Errors
		}
		if len(results[i].Rounds) == 0 {
			grid[i+1] = append(grid[i+1], unknown, unknown)
			continue
		}
		grid[i+1] = append(grid[i+1], fmt.Sprint(wrong), fmt.Sprint(missing))
	}
	return grid
}

func column(grid [][]string, run *record.Run, results []record.Result, title, metric string, compared bool) {
	m, _ := record.MetricNamed(metric)
	cells, known := make([]string, len(results)), false
	for i := range results {
		if compared {
			if cells[i] = Ratio(comparison(run, &results[i], metric)); i == 0 {
				cells[i] = ""
			}
		} else {
			cells[i] = Figure(m, stats.Center(&results[i], m))
		}
		known = known || cells[i] != unknown && cells[i] != ""
	}
	if !known {
		return
	}
	grid[0] = append(grid[0], title)
	for i, c := range cells {
		grid[i+1] = append(grid[i+1], c)
	}
}

// comparison finds the comparison whose baseline is r.
func comparison(run *record.Run, r *record.Result, metric string) *record.Comparison {
	for i := range run.Comparisons {
		c := &run.Comparisons[i]
		if c.Baseline == r.Server && c.Metric == metric && c.Scenario == r.Scenario &&
			c.Conns == r.Conns && c.Size == r.Size && c.Depth == r.Depth && c.Rate == r.Rate {
			return c
		}
	}
	return nil
}

func survived(r *record.Result) string {
	switch {
	case r.Survived == nil:
		return unknown
	case *r.Survived:
		return "yes"
	}
	return "NO"
}

// align writes a grid: the first column to the left, the others to the right.
func align(b *strings.Builder, grid [][]string) {
	widths := make([]int, len(grid[0]))
	for _, row := range grid {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range grid {
		line := ""
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line += "  " + cell + pad
			} else {
				line += "  " + pad + cell
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

func rounds(results []record.Result) (n int) {
	for i := range results {
		n = max(n, len(results[i].Rounds))
	}
	return n
}

func plural(n int, what string) string {
	if n == 1 {
		return what
	}
	return what + "s"
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown processor"
	}
	return s
}
