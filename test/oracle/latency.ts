// Memory latency between nodes in cycles: a straight line through the local latency at distance 10 and the remote latency
// at the smallest distance above 10 that the matrix has.
import { type OracleConfig } from './types.js';

/** Cycles of one memory reference, as [from node][to node]. */
export function memoryCycles(machine: OracleConfig['machine'], nodes: number): number[][] {
  const { clockGHz, latency } = machine;
  const distances =
    machine.distances ??
    Array.from({ length: nodes }, (_, from) => Array.from({ length: nodes }, (_, to) => (from === to ? 10 : 20)));
  const nearest = Math.min(...distances.flat().filter((distance) => distance > 10)); // Infinity: nothing is farther than 10
  const ns = (distance: number) =>
    latency.localNs + ((latency.remoteNs - latency.localNs) * (distance - 10)) / (nearest - 10);
  return distances.map((row) => row.map((distance) => Math.round(ns(distance) * clockGHz)));
}
