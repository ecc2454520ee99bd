// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build e2e

package report_test

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/report"
)

// chromium runs the browser without a window, on the page.
func chromium(t *testing.T, page string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + t.TempDir(),
	}, args...)
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, "chromium", append(args, "file://"+page)...)
	cmd.Stdout, cmd.Stderr = &out, &said
	require.NoError(t, cmd.Run(), "%s", &said)
	return out.Bytes()
}

// The pictures stay with `go test -artifacts`.
func TestPageInABrowser(t *testing.T) {
	dir, err := filepath.Abs(t.ArtifactDir())
	require.NoError(t, err)
	page := filepath.Join(dir, "page.html")
	var html bytes.Buffer
	require.NoError(t, report.HTML(&html, sampleRun(1, 1), sampleRun(2, 0.9)))
	require.NoError(t, os.WriteFile(page, html.Bytes(), 0o644))

	dom := string(chromium(t, page, "--dump-dom"))
	for _, part := range []string{"survival", "ratios", "latency", "memory", "scale", "history", "figures", "rig", "method"} {
		require.Contains(t, dom, `<section id="`+part+`"`)
	}
	for _, chart := range []string{"ratio-cpu", "ratio-p99", "latency-echo-200-connections-64-b", "memory-idle-10000-connections-64-b", "scale-echo-connections-cpu", "scale-echo-size-cpu"} {
		require.Contains(t, dom, `<figure id="`+chart+`"`)
	}
	require.Greater(t, strings.Count(dom, "<svg"), 10)

	for name, args := range map[string][]string{
		"light": {"--window-size=1280,9000"},
		"dark":  {"--window-size=1280,9000", "--force-dark-mode", "--blink-settings=preferredColorScheme=0"},
		"phone": {"--window-size=500,14000"},
	} {
		file := filepath.Join(dir, name+".png")
		chromium(t, page, append(args, "--screenshot="+file)...)
		require.Greater(t, shades(t, file), 50, "%s: the picture is blank", name)
	}
}

// shades counts the colours of a picture, at every few pixels.
func shades(t *testing.T, file string) int {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	type rgb struct{ r, g, b uint32 }
	seen := make(map[rgb]bool)
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y += 3 {
		for x := b.Min.X; x < b.Max.X; x += 3 {
			r, g, bl, _ := img.At(x, y).RGBA()
			seen[rgb{r, g, bl}] = true
		}
	}
	return len(seen)
}
