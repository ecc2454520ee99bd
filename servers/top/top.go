// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package top shows a reactor at work in a terminal: its loops, and the connections that move most. It asks what
// package inspect serves.
package top

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/inspect"
)

// maxPage bounds what a server may answer, some hundred bytes a loop and a flow.
const maxPage = 64 << 20

// Path is where servers have the page.
const Path = "/debug/quartet"

// ParseURL completes the address of a page: the scheme may be missing, the path, and the host if it is this machine.
func ParseURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("want http://host:port, host:port or :port")
	}
	if u.Hostname() == "" {
		u.Host = net.JoinHostPort("127.0.0.1", u.Port())
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = Path
	}
	return u, nil
}

// Get takes a sample, which takes as long as is asked for.
func Get(ctx context.Context, page *url.URL, sample time.Duration, flows int) (*inspect.Page, error) {
	u := *page
	u.RawQuery = url.Values{"sample": {sample.String()}, "flows": {fmt.Sprint(flows)}}.Encode()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxPage))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		line, _, _ := bytes.Cut(body, []byte("\n"))
		return nil, fmt.Errorf("%s answers %s: %.200s", page, answer.Status, line)
	}
	var p inspect.Page
	if err := json.Unmarshal(body, &p); err != nil || p.Sample == nil {
		return nil, fmt.Errorf("%s has no page of a reactor: %w", page, cmp.Or(err, errors.New("the sample is missing")))
	}
	return &p, nil
}

// View returns lines about the sample, none wider than width if that is above 0: what all loops did, each loop, and the
// busiest connections. Where a line is cut stands > or, at the beginning of addresses, <. Rates are for each second of the sample.
func View(p *inspect.Page, width int) []string {
	seconds := max(p.Duration().Seconds(), 1e-9)
	rate := func(now, before uint64) string { return short(float64(now-before) / seconds) }
	now, closes, _ := p.Total()
	old, _, _ := p.Sample.Before.Total()
	ended := uint64(0)
	for _, n := range closes {
		ended += n
	}
	lines := []string{
		fmt.Sprintf("%s  %d connections, %s opened/s, %d ended, %sB buffered, %d panics",
			p.Time.Format(time.TimeOnly), p.Conns, rate(now.Opens, old.Opens), ended, short(float64(p.Buffered)), now.Panics),
		"",
		"LOOP   BUSY   CONNS  EVENTS/s  BYTES IN/s BYTES OUT/s  UNSENT  TASKS  LAG 99%",
	}
	for i := range p.Loops {
		l, before := &p.Loops[i], &reactor.LoopStats{}
		if i < len(p.Sample.Before.Loops) {
			before = &p.Sample.Before.Loops[i]
		}
		busy, lag := "-", "-"
		if l.EventTime != nil && before.EventTime != nil {
			busy = fmt.Sprintf("%.1f%%", 100*(l.EventTime.Sum-before.EventTime.Sum).Seconds()/seconds)
		}
		if l.TaskLag != nil && before.TaskLag != nil {
			h := *l.TaskLag
			for i, n := range before.TaskLag.Counts {
				h.Counts[i] -= n
			}
			lag = brief(h.Quantile(0.99))
		}
		if l.Stale {
			busy = "stuck"
		}
		lines = append(lines, fmt.Sprintf("%4d %6s %7d %9s %11s %11s %7s %6d %8s", l.Loop, busy, l.Conns, rate(l.Events, before.Events),
			rate(l.BytesReceived, before.BytesReceived), rate(l.BytesSent, before.BytesSent), short(float64(l.Unsent)), l.Mailbox, lag))
	}
	lines = append(lines, "", "BYTES IN/s BYTES OUT/s LOOP  CONNECTION")
	for _, f := range p.Sample.Flows {
		name := f.Tuple.String()
		if f.Tuple == (reactor.FourTuple{}) {
			name = fmt.Sprintf("unix %d", f.Conn)
		}
		moved := fmt.Sprintf("%10s %11s %4d  ", rate(uint64(f.Received), 0), rate(uint64(f.Sent), 0), f.Loop)
		if room := width - len(moved); room > 1 && len(name) > room {
			name = "<" + name[len(name)-room+1:] // the remote address tells more
		}
		lines = append(lines, moved+name)
	}
	if p.Sample.Lost > 0 {
		lines = append(lines, fmt.Sprintf("(%d reads and writes came too fast to be counted by connection)", p.Sample.Lost))
	}
	for i, line := range lines {
		if width > 0 && len(line) > width {
			lines[i] = line[:width-1] + ">"
		}
	}
	return lines
}

// short writes n with at most five characters.
func short(n float64) string {
	for _, unit := range []string{"", "K", "M", "G", "T", "P", "E"} {
		switch {
		case n < 9.95 && unit != "":
			return fmt.Sprintf("%.1f%s", n, unit)
		case n < 9995 && unit == "", n < 999.5:
			return fmt.Sprintf("%.0f%s", n, unit)
		}
		n /= 1000
	}
	return "lots"
}

// brief writes a time of less than a hundred hours with at most eight characters.
func brief(d time.Duration) string {
	precision := time.Minute
	switch {
	case d < time.Millisecond:
		precision = 10 * time.Nanosecond
	case d < time.Second:
		precision = 10 * time.Microsecond
	case d < time.Minute:
		precision = 10 * time.Millisecond
	case d < time.Hour:
		precision = time.Second
	}
	return d.Round(precision).String()
}
