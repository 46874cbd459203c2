"""The parts of Optuna that are not its public interface: the only package that uses them, behind public names."""
