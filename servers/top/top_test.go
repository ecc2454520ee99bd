// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package top_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/inspect"
	"github.com/quartet-go/quartet/reactor/trace"
	"github.com/quartet-go/quartet/servers/top"
	"github.com/stretchr/testify/require"
)

// What may be left out of a URL.
func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		":9100":                             "http://127.0.0.1:9100/debug/quartet",
		"box:9100":                          "http://box:9100/debug/quartet",
		"[::1]:9100":                        "http://[::1]:9100/debug/quartet",
		"http://box":                        "http://box/debug/quartet",
		"https://box/":                      "https://box/debug/quartet",
		"http://box/behind/a/proxy/quartet": "http://box/behind/a/proxy/quartet",
	} {
		u, err := top.ParseURL(text)
		require.NoError(t, err, text)
		require.Equal(t, want, u.String())
	}
	for _, text := range []string{"", "ftp://box", "http://", "http://box:port"} {
		_, err := top.ParseURL(text)
		require.Error(t, err, text)
	}
}

// page returns a sample of two seconds with large numbers and long addresses.
func page() *inspect.Page {
	loop := func(n uint64) reactor.LoopStats {
		return reactor.LoopStats{
			Loop: 1023, Conns: 1234567, Mailbox: 65536, Unsent: 123456789012,
			Counters:  reactor.Counters{Events: n, BytesReceived: n * 1e6, BytesSent: n * 1e9, Opens: n},
			EventTime: &reactor.Histogram{Sum: time.Duration(n)},
			TaskLag:   &reactor.Histogram{Counts: [24]uint64{21: n}, Max: time.Hour},
		}
	}
	now := time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)
	v6 := netip.MustParseAddrPort("[2001:db8:1234:5678:9abc:def0:1234:5678]:65535")
	return &inspect.Page{
		Stats: reactor.Stats{Time: now, Conns: 1234567, Loops: []reactor.LoopStats{loop(2e9)}},
		Sample: &inspect.Sample{
			Before: reactor.Stats{Time: now.Add(-2 * time.Second), Loops: []reactor.LoopStats{loop(1e9)}},
			Flows: []trace.Flow{
				{Conn: 7, Tuple: reactor.FourTuple{Local: v6, Remote: v6}, Loop: 3, Received: 5000, Sent: 3e9},
				{Conn: 8},
			},
			Lost: 12,
		},
	}
}

// The view fits any width, and 80 columns without a cut but for long addresses, of which the remote one is seen.
func TestView(t *testing.T) {
	lines := top.View(page(), 80)
	text := strings.Join(lines, "\n")
	require.Contains(t, text, "12:00:00  1234567 connections, 500M opened/s")
	require.Contains(t, text, "1023  50.0% 1234567      500M        500T        500P    123G  65536     2.1s")
	require.Contains(t, text, "      2500        1.5G    3  <")
	require.Contains(t, text, "unix 8")
	require.Contains(t, text, "(12 reads and writes")
	for _, line := range lines {
		require.LessOrEqual(t, len(line), 80)
		require.NotContains(t, line, ">")
		require.Equal(t, strings.Contains(line, "<"), strings.HasSuffix(line, "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535"), line)
	}
	require.Contains(t, strings.Join(top.View(page(), 0), "\n"), "5678]:65535<-[2001")
	p := page()
	p.Loops[0].TaskLag.Max = 123456789 * time.Nanosecond
	require.Contains(t, strings.Join(top.View(p, 80), "\n"), " 65536 123.46ms\n")
	for _, line := range top.View(page(), 20) {
		require.LessOrEqual(t, len(line), 20)
	}
}

// What was not measured is a dash, a stuck loop is told.
func TestViewOfWhatIsUnknown(t *testing.T) {
	p := page()
	p.Loops[0].EventTime, p.Loops[0].TaskLag = nil, nil
	require.Regexp(t, `(?m)^1023 +- .* -$`, strings.Join(top.View(p, 80), "\n"))
	p.Loops[0].Stale = true
	require.Regexp(t, `(?m)^1023 +stuck `, strings.Join(top.View(p, 80), "\n"))
}

// What is no page is told.
func TestGetFails(t *testing.T) {
	for body, want := range map[string]string{"<html>": "has no page of a reactor", "{}": "the sample is missing"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		u, err := top.ParseURL(s.URL)
		require.NoError(t, err)
		_, err = top.Get(context.Background(), u, time.Millisecond, 1)
		require.ErrorContains(t, err, want)
		s.Close()
	}
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	u, err := top.ParseURL(s.URL)
	require.NoError(t, err)
	_, err = top.Get(context.Background(), u, time.Millisecond, 1)
	require.ErrorContains(t, err, "404 Not Found")
}
