// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/stats"
)

// remembered are the metrics that are followed over time.
var remembered = []string{"server_cpu_ns_per_message", "messages_per_second", "latency_ns.p99", "rss_bytes_per_connection"}

// A caseHistory is how the figures of a case changed from run to run: a grid for each metric.
type caseHistory struct {
	Title string
	Grids [][][]string
}

// History is of the cases that more than one run has measured.
func (v *view) History() (list []caseHistory) {
	for i := range v.cases {
		var past []measured
		for _, run := range v.Runs {
			for _, m := range casesOf(run) {
				if sameCase(&m.results[0], &v.cases[i].results[0]) {
					past = append(past, m)
				}
			}
		}
		if len(past) < 2 {
			continue
		}
		h := caseHistory{Title: past[0].title()}
		for _, name := range remembered {
			if g := history(past, v.Servers, name); g != nil {
				h.Grids = append(h.Grids, g)
			}
		}
		list = append(list, h)
	}
	return list
}

// history has a row for each run and one for the change from the first to the last; nil if nobody has the metric.
func history(past []measured, servers []string, metric string) [][]string {
	m, _ := record.MetricNamed(metric)
	grid := [][]string{{m.Title}}
	for i := range past {
		rig := &past[i].run.Rig
		grid = append(grid, []string{strings.TrimSpace(rig.Time.Format("2006-01-02 15:04 ") + rig.Revision[:min(len(rig.Revision), 8)])})
	}
	grid = append(grid, []string{"change"})
	for _, server := range servers {
		var results []*record.Result
		column := []string{server}
		for i := range past {
			r := past[i].result(server)
			if r == nil || stats.Center(r, m) == nil {
				column = append(column, unknown)
				continue
			}
			column = append(column, Figure(m, stats.Center(r, m)))
			results = append(results, r)
		}
		if len(results) == 0 {
			continue
		}
		for i, cell := range append(column, change(results, m)) {
			grid[i] = append(grid[i], cell)
		}
	}
	if len(grid[0]) == 1 {
		return nil
	}
	return grid
}

func (m *measured) result(server string) *record.Result {
	i := slices.IndexFunc(m.results, func(r record.Result) bool { return r.Server == server })
	if i < 0 {
		return nil
	}
	return &m.results[i]
}

// change is from the first to the last. It cannot be told while the intervals of the two medians overlap.
func change(results []*record.Result, m record.Metric) string {
	if len(results) < 2 {
		return unknown
	}
	from, to := results[0], results[len(results)-1]
	low1, high1, ok1 := stats.Interval(sample(from, m))
	low2, high2, ok2 := stats.Interval(sample(to, m))
	a, b := *stats.Center(from, m), *stats.Center(to, m)
	if !ok1 || !ok2 || a == 0 || low1 <= high2 && low2 <= high1 {
		return undecided
	}
	return fmt.Sprintf("%+.1f %%", (b/a-1)*100)
}

// OverTime writes how the figures of runs changed on the terminal; of a single run, its tables.
func OverTime(w io.Writer, runs ...*record.Run) error {
	v := newView(runs)
	if len(v.cases) == 0 {
		return errNothing
	}
	var b strings.Builder
	if len(runs) == 1 {
		b.WriteString(Header(&runs[0].Rig))
		if err := Table(&b, runs[0]); err != nil {
			return err
		}
		b.WriteString(Checks(runs[0].Checks))
		_, err := io.WriteString(w, b.String())
		return err
	}
	list := v.History()
	for _, h := range list {
		fmt.Fprintln(&b, h.Title)
		for _, g := range h.Grids {
			align(&b, g)
			b.WriteByte('\n')
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(&b, "No case was measured by more than one of these runs.")
	}
	if machines := v.machines(); len(machines) > 1 {
		fmt.Fprintf(&b, "The runs were made in different ways, so that only ratios within a run compare: %s.\n", strings.Join(machines, "; "))
	}
	fmt.Fprintln(&b, "Medians over rounds; the change is from the first run to the last, ~ where the intervals of the two overlap.")
	_, err := io.WriteString(w, b.String())
	return err
}

// machines are the different rigs of the runs.
func (v *view) machines() (list []string) {
	for _, run := range v.Runs {
		r := &run.Rig
		s := fmt.Sprintf("%d × %s, %s, %d %s", r.CPUs, orUnknown(r.CPU), r.Kernel, r.Loops, plural(r.Loops, "loop"))
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
